// What is known of the sidecar, and how it stays so: a fetch at first, then one stream of events, whose silence is noticed.

/** What is shown. `skew` is what the server's clock is ahead of this one, in ms. */
export const store = {
  sidecar: null, overview: null, state: null, events: [], skew: 0,
  // Since when nothing was heard, the server's time; 0 while all is well.
  lostSince: 0, lastHeard: 0, retryAt: 0, restartedAt: 0,
};

// The server says something each second. Two of these and a bit: silence is said within 3 s of it, and one late second is
// no alarm.
const SILENCE_MS = 2400;
// A sidecar that was restarted is back within seconds, so it is asked each second at first; later there is no hurry.
const RETRY_MS = 1000;
const RETRY_LATER_MS = 5000;
const HURRY_MS = 20000;
// An answer to "are you there" takes a ms on loopback. More than that and it hangs.
const ASK_MS = 1500;
const MOST_EVENTS = 1000;

const listeners = new Set();
let topics = [];
let source = null;
let heardAt = 0;
let isAsking = false;

/** Calls `listener(topic)` whenever something is news, until what is returned is called. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(topic, data) {
  for (const listener of [...listeners]) listener(topic, data);
}

/** The server's time now. */
export const now = () => Date.now() + store.skew;

/** What the door answers at `path`, or an error whose message is its. `status` stands in the error. */
export async function get(path, options) {
  const response = await fetch(path, { cache: 'no-store', ...options });
  const isJson = (response.headers.get('content-type') || '').includes('json');
  const body = isJson ? await response.json() : await response.text();
  if (response.ok) return body;
  const why = (isJson && body.error) || `the sidecar answered ${response.status}`;
  throw Object.assign(new Error(why), { status: response.status, isAnswer: true });
}

/** Has something done. Changes of the fleet or of a rollout hold only for the revision that is seen. */
export const post = (path, body, revision) => get(path, {
  method: 'POST',
  headers: { 'content-type': typeof body === 'string' ? 'text/yaml' : 'application/json',
    ...(revision == null ? {} : { 'if-match': `"${revision}"` }) },
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

function heard(at) {
  heardAt = performance.now();
  if (at) {
    store.skew = at - Date.now();
    store.lastHeard = at;
  }
  if (!store.lostSince) return;
  store.lostSince = 0;
  tell('link');
}

function lose() {
  if (!store.lostSince) {
    store.lostSince = store.lastHeard || now();
    store.retryAt = Date.now() + RETRY_MS;
    tell('link');
  }
}

/** Takes a topic's news. */
function take(topic, data) {
  if (topic === 'overview') store.overview = data;
  else if (topic === 'state') store.state = data.whole === false ? patched(store.state, data) : data;
  else if (topic === 'events') {
    const last = store.events.at(-1)?.number ?? -1;
    store.events = [...store.events, ...data.events.filter((event) => event.number > last)].slice(-MOST_EVENTS);
  }
  tell(topic, data);
}

/** The columns with the rows of `change` laid over them; pages compare by reference, so they are copied. */
function patched(state, change) {
  if (!state) return state;
  const next = { ...state, now_unix_ms: change.now_unix_ms, generation: change.generation, revision: change.revision };
  for (const table of ['sites', 'nodes']) {
    const { i, ...columns } = change[table] || {};
    if (!i) continue;
    next[table] = { ...next[table] };
    for (const [name, values] of Object.entries(columns)) {
      const column = [...next[table][name]];
      i.forEach((row, at) => { column[row] = values[at]; });
      next[table][name] = column;
    }
  }
  return next;
}

function close() {
  source?.close();
  source = null;
}

function open() {
  close();
  if (document.hidden) return;
  const mine = new EventSource(`/debug/stream?topics=${topics.join(',')}`);
  source = mine;
  for (const topic of ['overview', 'state', 'events', 'decisions', 'clock']) {
    mine.addEventListener(topic, (event) => {
      if (source !== mine) return;
      const data = JSON.parse(event.data);
      const started = data.started_unix_ms;
      heard(data.now_unix_ms);
      if (topic !== 'clock') take(topic, data);
      else if (store.sidecar && started && started !== store.sidecar.started_unix_ms) restart();
      else tell('clock');
    });
  }
  // The browser would try again by itself, but without a word of when: that is done below instead.
  mine.addEventListener('error', () => { if (source === mine) { close(); lose(); } });
}

async function restart() {
  Object.assign(store, { state: null, events: [], restartedAt: now() });
  await begin().catch(() => {});
  open();
  tell('restart');
}

/** Asks whether the sidecar is there, and takes up the stream again if it is. */
export async function ask() {
  if (isAsking) return;
  isAsking = true;
  try {
    const sidecar = await get('/debug/sidecar', { signal: AbortSignal.timeout(ASK_MS) });
    const isOther = store.sidecar && store.sidecar.started_unix_ms !== sidecar.started_unix_ms;
    heard(sidecar.now_unix_ms);
    if (isOther) await restart();
    else if (!source) open();
  } catch {
    const wait = now() - store.lostSince < HURRY_MS ? RETRY_MS : RETRY_LATER_MS;
    store.retryAt = Date.now() + wait;
  }
  isAsking = false;
}

const fetched = () => Promise.all([get('/debug/sidecar'), get('/debug/overview')]);
// Asked for as soon as this module is there, while the others still come: the first view waits for little else.
let first = fetched();
first.catch(() => {});

/** Fetches what every page has. */
export async function begin() {
  const mine = first || fetched();
  first = null;
  const [sidecar, overview] = await mine;
  store.sidecar = sidecar;
  heard(sidecar.now_unix_ms);
  take('overview', overview);
}

/** Follows these topics from now on. */
export function follow(wanted) {
  if (source && wanted.join() === topics.join()) return;
  topics = wanted;
  heardAt = performance.now();
  if (!store.lostSince) open();
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return close();
  heardAt = performance.now();
  if (topics.length) store.lostSince ? ask() : open();
});
addEventListener('pagehide', close);
addEventListener('pageshow', (event) => { if (event.persisted) { heardAt = performance.now(); open(); } });

setInterval(() => {
  if (document.hidden) return;
  if (topics.length && performance.now() - heardAt > SILENCE_MS) lose();
  if (store.lostSince && Date.now() >= store.retryAt) ask();
  tell('tick');
}, 250);
