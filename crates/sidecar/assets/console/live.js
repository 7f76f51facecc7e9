// Live: the tail of the sample of decisions with filters, the hot keys, and what moved keys.

import { h, mark, region } from './dom.js';
import * as fmt from './fmt.js';
import { store, get, now } from './store.js';

export const topics = ['decisions', 'events'];
const ROWS = 50;
const HOT_EACH_MS = 5000;
const FIELDS = ['contains', 'rule', 'site', 'reason', 'country'];
// As docs/reasons.md has them; what the server has words for comes in its words.
const REASONS = ['owner', 'hot_copy', 'less_loaded', 'spilled', 'site_spilled', 'probe', 'trial', 'owner_tried', 'site_tried', 'owner_out', 'outweighed', 'steered',
  'purge_behind', 'restricted', 'readmitted', 'next_tier', 'panic', 'origin', 'refused_by_rule', 'no_rule', 'unknown_pool', 'no_node', 'no_room', 'rate_limited'];

const spoken = (word) => (word || '').replaceAll('_', ' ');

/** Whether a row of the stream passes the filters, as the door judges them. */
function passes(row, { contains, rule, site, reason, country }) {
  const text = contains && `${row.host}${row.path}?${row.query || ''} ${row.id}`.toLowerCase();
  return (!contains || text.includes(contains.toLowerCase())) && (!rule || row.rule === rule) && (!site || row.site === site)
    && (!reason || row.reason === reason) && (!country || row.country === country);
}

function row(decision, isNew) {
  const { id, number, at_unix_ms: at, client, country, method, host, path, rule, node, site, expected_ms: expected, reason, words, verdict } = decision;
  const isRefused = verdict && verdict !== 'route';
  return h('tr', { 'data-number': number, class: isNew ? 'new' : null },
    h('td', { title: fmt.date(at), class: 'when' }, fmt.time(at)),
    h('td', { class: 'second client' }, country || '', ' ', h('span', { class: 'mono' }, client || '')),
    h('td', { class: 'request' }, h('a', { class: 'quiet mono', href: `/explain?id=${encodeURIComponent(id)}`, title: `${method || 'GET'} ${host}${path}` }, path)),
    h('td', { class: 'second rule' }, rule || 'no rule'),
    h('td', { class: 'node', title: site }, isRefused ? [mark('bad'), ' refused'] : [h('strong', {}, node), h('span', { class: 'at' }, ` ${site || ''}`)]),
    h('td', { class: 'n ms' }, expected == null ? '' : fmt.ms(expected)),
    h('td', { class: 'why', title: reason }, words || spoken(reason)));
}

/** One key a row: at several sites it is still one key. */
function hotKeys({ hot_keys: all = [] }) {
  const keys = new Map();
  for (const one of all) {
    const key = keys.get(one.key_hash) || keys.set(one.key_hash, { ...one, sites: [], nodes: [] }).get(one.key_hash);
    key.sites.push(one.site);
    key.share = Math.max(key.share, one.share);
    key.nodes.push(...(one.nodes || []));
  }
  if (!keys.size) return h('p', { class: 'note' }, 'No key is asked for so often that several nodes carry it.');
  return [...keys.values()].slice(0, 10).map((key) => h('div', { class: 'hot' },
    h('p', {}, h('span', { class: 'mono', title: key.last_url }, key.last_url ? key.last_url.replace(/^(https?:\/\/)?[^/]*/, '') : `key ${fmt.digest(key.key_hash)}`), h('strong', {}, fmt.share(key.share))),
    h('p', { class: 'note' }, h('span', { title: key.nodes.join(', ') }, 'key ', h('span', { class: 'mono', title: key.key_hash }, fmt.digest(key.key_hash)),
      key.nodes.length ? `, on ${fmt.counted(key.nodes.length, 'node')}` : `, on ${fmt.counted(key.copies, 'node')} a site`, ` at ${fmt.list(key.sites)}`,
      key.since_ms == null ? '' : `, for ${fmt.since(key.since_ms)}`), h('span', {}, 'of requests there')),
    h('span', { class: 'meter', vars: { part: Math.min(1, key.share) } })));
}

// A movement is told after what caused it, with the publication that took it up: that is at most so much later.
const CAUSED_MS = 3000;

/** What moved keys: the event just before, if the movement does not say it itself. */
function causeOf(events, i) {
  const event = events[i];
  if (event.kind !== 'moved' || event.node || event.site) return event.title;
  const before = events.slice(0, i).findLast((one) => one.kind !== 'moved' && event.at_unix_ms - one.at_unix_ms < CAUSED_MS);
  return before?.title || spoken(event.cause) || event.title;
}

function movement(rows) {
  if (!rows.length) return h('p', { class: 'note' }, 'Nothing moved a key since this sidecar started.');
  return h('table', {}, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'What'), h('th', { scope: 'col', class: 'n' }, 'Moved'), h('th', { scope: 'col', class: 'n' }, 'Needless'))),
    h('tbody', {}, rows.map((event) => h('tr', {}, h('td', {}, event.title || event.words, h('span', { class: 'note', title: fmt.date(event.at_unix_ms) }, fmt.minute(event.at_unix_ms))),
      h('td', { class: 'n' }, h('strong', {}, fmt.share(event.moved_ratio))),
      h('td', { class: 'n second' }, event.kind === 'revision' ? 'intended' : event.needless_ratio > 0 ? h('span', { class: 'bad' }, fmt.share(event.needless_ratio))
        : event.needless_ratio === 0 ? 'none' : fmt.NOT_TOLD)))));
}

/** What is said where no row passes; also used by the sheet of states. */
export const nothing = ({ kept, oldest, ratio, asked, clear }) => h('div', { class: 'empty' },
  h('p', {}, h('strong', {}, kept ? `None of the ${fmt.counted(kept, 'decision')} kept ${asked ? 'match' : 'is shown'}` : 'No decision is kept yet'), asked ? ` ${asked}.` : '.'),
  h('p', { class: 'note' }, oldest ? `They reach back to ${fmt.time(oldest)}. ` : '', ratio > 0 ? `1 in ${fmt.count(1 / ratio)} is kept. ` : '',
    asked && clear && h('a', { href: '/live' }, 'Clear filters'), asked && ' or wait: ', 'new ones appear here.'));

export function open(main) {
  let filters = {};
  let rows = [];
  let waiting = [];
  let totals = null;
  let isPaused = false;
  let before = null;
  let hotAt = 0;
  let events = [];
  let asking = 0;
  const field = (name, label, control) => h('label', { class: `field ${name}` }, h('span', {}, label), control);
  const select = (name, any) => h('select', { name }, h('option', { value: '' }, any));
  const selects = { rule: select('rule', 'any'), site: select('site', 'any'), reason: select('reason', 'any'), country: select('country', 'any country') };
  selects.reason.append(...REASONS.map((value) => h('option', { value }, spoken(value))));
  const contains = h('input', { name: 'contains', autocomplete: 'off', spellcheck: 'false' });
  const pause = h('button', { type: 'button', class: 'pause', onclick: () => { isPaused = !isPaused; if (!isPaused) unfold(); words(); } }, 'Pause');
  const form = h('form', { class: 'filters', role: 'search', 'aria-label': 'Filters' }, field('contains', 'Path, key or decision id contains', contains), field('rule', 'Rule', selects.rule),
    field('site', 'Site', selects.site), field('reason', 'Reason', selects.reason), field('country', 'Client in', selects.country), pause,
    h('button', { type: 'button', class: 'clear', onclick: () => { history.pushState(null, '', '/live'); read(); } }, 'Clear'));
  const note = h('span', { class: 'note' });
  const fresh = h('button', { type: 'button', class: 'fresh', hidden: true, onclick: () => { isPaused = false; const query = new URLSearchParams(location.search); query.delete('before'); history.replaceState(null, '', `/live${query.size ? `?${query}` : ''}`); document.activeElement?.blur(); scrollTo(0, 0); read(); } });
  const body = h('tbody', {});
  const empty = h('div', {});
  const older = h('a', { href: '#' }, 'Older');
  const hot = h('div', {});
  const moved = h('div', {});
  const allowance = h('p', { class: 'note' });
  const heads = [['Time, UTC'], ['Client'], ['Request'], ['Rule'], ['Goes to'], ['Expected', 'n'], ['Why']];
  const table = h('table', { class: 'tail' }, h('thead', {}, h('tr', {}, heads.map(([name, kind]) => h('th', { scope: 'col', class: kind }, name)))), body);
  main.append(h('h1', { class: 'unseen', tabindex: -1 }, 'Live'), form, h('div', { class: 'two wide-left' },
    h('section', {}, h('div', { class: 'head' }, h('h2', {}, 'Decisions'), note), fresh, table, empty,
      h('p', { class: 'note' }, older, ' The same in a terminal: ', h('code', {}, 'tradewind tap --follow'))),
    h('div', {}, h('section', {}, h('div', { class: 'head' }, h('h2', {}, 'Hot keys'), h('span', { class: 'note' }, 'carried by several nodes')), hot),
      h('section', {}, h('div', { class: 'head' }, h('h2', {}, 'Movement'), h('span', { class: 'note' }, 'keys with a new node')), moved, allowance))));

  /** Nothing moves while somebody reads: paused, further down, at an older page, or with a row focused. */
  const isHeld = () => isPaused || before !== null || body.contains(document.activeElement) || body.getBoundingClientRect().top < -60;

  function words() {
    pause.textContent = isPaused ? 'Go on' : 'Pause';
    pause.setAttribute('aria-pressed', isPaused);
    fresh.hidden = !waiting.length && before === null;
    fresh.textContent = before !== null ? `Back to the newest${waiting.length ? `, ${fmt.count(waiting.length)} new` : ''}` : `${fmt.count(waiting.length)} new`;
    if (!totals) return;
    const { sample_ratio: ratio, notable_factor: factor, kept, oldest_unix_ms: oldest, dropped } = totals;
    note.textContent = `${ratio >= 1 ? 'all of them' : `a sample: 1 in ${fmt.count(1 / ratio)}${factor > 1 ? `, others than the owner’s ${fmt.counted(factor, 'time')} as often` : ''}`}; `
      + `${fmt.count(kept)} kept${oldest ? ` since ${fmt.time(oldest)}` : ''}, newest first${dropped > 0 ? `; ${fmt.count(dropped)} dropped, too many came at once` : ''}`;
  }

  function draw(isNews) {
    const held = document.activeElement?.closest?.('tr')?.dataset.number;
    const known = new Set([...body.children].map((line) => line.dataset.number));
    const had = new Map([...body.children].map((line) => [line.dataset.number, line]));
    body.replaceChildren(...rows.map((one) => had.get(String(one.number)) || row(one, isNews && known.size > 0)));
    if (held) body.querySelector(`[data-number="${held}"] a`)?.focus({ preventScroll: true });
    table.hidden = !rows.length;
    const asked = FIELDS.filter((name) => filters[name]).map((name) => `${name} ${spoken(filters[name])}`).join(' and ');
    region(empty, rows.length || !totals ? null : { kept: totals.kept, oldest: totals.oldest_unix_ms, ratio: totals.sample_ratio, asked, clear: true }, (it) => it && nothing(it));
    words();
  }

  function unfold() {
    if (!waiting.length) return;
    rows = [...waiting, ...rows].slice(0, ROWS);
    waiting = [];
    draw(true);
  }

  async function load() {
    const mine = ++asking;
    const query = new URLSearchParams({ limit: ROWS });
    for (const name of FIELDS) if (filters[name]) query.set(name, filters[name]);
    if (before !== null) query.set('before', before);
    const got = await get(`/debug/decisions?${query}`).catch(() => null);
    if (!got || mine !== asking) return;
    totals = got;
    rows = got.decisions.slice(0, ROWS);
    older.hidden = got.older_before == null || !rows.length;
    const countries = new Set([...rows.map((one) => one.country).filter(Boolean), ...(filters.country ? [filters.country] : [])]);
    offer('country', [...countries].sort());
    draw();
  }

  /** Adds choices to a select; what is chosen is always among them. */
  function offer(name, values) {
    const has = new Set([...selects[name].options].map((option) => option.value));
    selects[name].append(...values.filter((value) => !has.has(value)).map((value) => h('option', { value }, spoken(value))));
    selects[name].value = filters[name] || '';
  }

  /** Takes the filters out of the address bar. */
  function read() {
    const query = new URLSearchParams(location.search);
    filters = Object.fromEntries(FIELDS.map((name) => [name, query.get(name) || '']));
    before = query.has('before') ? Number(query.get('before')) : null;
    contains.value = filters.contains;
    for (const name of Object.keys(selects)) offer(name, filters[name] ? [filters[name]] : []);
    waiting = [];
    load();
  }

  function write() {
    const query = new URLSearchParams();
    for (const name of FIELDS) {
      const value = form.elements[name].value.trim();
      if (value) query.set(name, value);
    }
    history.replaceState(null, '', `/live${query.size ? `?${query}` : ''}`);
    read();
  }

  let typing = 0;
  form.addEventListener('submit', (event) => { event.preventDefault(); write(); });
  form.addEventListener('change', write);
  contains.addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(write, 250); });
  older.addEventListener('click', (event) => {
    event.preventDefault();
    if (totals?.older_before == null) return;
    const query = new URLSearchParams(location.search);
    query.set('before', totals.older_before);
    history.pushState(null, '', `/live?${query}`);
    read();
    scrollTo(0, 0);
  });

  async function aside() {
    hotAt = now();
    const got = await get('/debug/hot').catch(() => null);
    if (!got) return;
    region(hot, { hot_keys: got.hot_keys }, hotKeys);
    const left = got.change_allowance_left_ratio;
    allowance.textContent = left == null ? '' : `Signals may move ${fmt.share(left)} more this minute; what fails is left at once.`;
  }

  function showMoved() {
    const known = new Map([...events, ...store.events].map((event) => [event.number, event]));
    const all = [...known.values()].sort((a, b) => a.number - b.number);
    region(moved, all.map((event, i) => ({ ...event, title: causeOf(all, i) })).filter((event) => event.moved_ratio > 0).reverse().slice(0, 10), movement);
  }

  read();
  aside();
  get('/debug/policy').then((got) => offer('rule', got.rules.map((rule) => rule.name))).catch(() => {});
  get('/debug/state').then((got) => offer('site', [...got.sites.id].sort())).catch(() => {});
  get('/debug/events?limit=1000').then((got) => { events = got.events; showMoved(); }).catch(() => {});
  return {
    topics,
    revisit: read,
    update(topic, data) {
      if (topic === 'restart') { events = []; rows = []; waiting = []; read(); }
      if (topic === 'events') showMoved();
      if (topic === 'clock' && now() - hotAt > HOT_EACH_MS) aside();
      if (topic !== 'decisions') { if (topic === 'clock' && waiting.length && !isHeld()) unfold(); return; }
      const top = Math.max(-1, ...[...rows.slice(0, 1), ...waiting.slice(0, 1)].map((one) => one.number));
      const news = data.decisions.filter((one) => one.number > top && passes(one, filters));
      if (!news.length) return;
      if (totals) totals.kept = Math.min(totals.capacity || Infinity, totals.kept + data.decisions.filter((one) => one.number > top).length);
      waiting = [...news, ...waiting].slice(0, 999);
      if (isHeld()) words();
      else unfold();
    },
  };
}
