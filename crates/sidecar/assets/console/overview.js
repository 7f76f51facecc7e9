// Overview: the headline, the four answers, the log, what needs a look, and what is in force.

import { h, mark, region } from './dom.js';
import * as fmt from './fmt.js';
import { store, get } from './store.js';
import { ago, sentence, ticked } from './frame.js';

const RANGES = [['15m', '15 min', 'The last 15 minutes', 'every 5 s'], ['1h', '1 h', 'The last hour', 'every 5 s'], ['6h', '6 h', 'The last 6 hours', 'every 30 s']];
export const topics = ['events'];

// The answers do not wait for the log: what draws it comes behind them.
const drawing = Promise.all([import('./charts.js'), import('./derive.js')]);

const QUESTIONS = [['up', 'Is it up?'], ['slow', 'Is it slow?'], ['failing', 'Is anything failing?'], ['changed', 'Did the last change alter anything?']];
// While nothing is known yet: the heads and rules at once, with this for values.
const WAITING = { headline: '…', line: '', answers: QUESTIONS.map(([key, question]) => ({ key, question, mark: 'unknown', answer: '…', proof: [] })) };

/** The four answers; also used by the sheet of states. */
export const answers = (rows) => rows.map(({ key, question, mark: kind, answer, proof }) => h('section', { id: key, class: 'answer' },
  h('h2', {}, mark(kind), h('span', {}, question)), h('p', { class: 'says' }, answer), h('p', { class: 'proof' }, sentence(proof))));

/** Where a row leads: its node or site on the map, or the part of the page that says more. */
function target({ kind, name }) {
  if (kind === 'node' || kind === 'site') return `/map?${kind}=${encodeURIComponent(name)}`;
  return { policy: '/policy', rollout: '/policy', pool: '/policy', object: '/live' }[kind] || '/#force';
}

/** Words about a file without its folders: which file it is stands beside them, and where is on Policy. */
const short = (why) => why.replace(/(^|[\s`])\/(?:[^\s`/:]+\/)+([^\s`/:]+)/g, '$1$2');

function needs({ rows, more }) {
  if (!rows.length) return h('p', { class: 'note' }, 'Nothing. Every node and site is well.');
  const row = ({ mark: kind, name, state, why, becomes, back, t0, ...rest }) => h('tr', {},
    h('th', { scope: 'row' }, mark(kind), h('a', { href: target({ name, ...rest }), 'data-key': `${rest.kind} ${name}` }, name), h('span', { class: 'note' }, state)),
    h('td', { title: short(why) === why ? null : why }, ticked(short(why)), becomes && h('span', { class: 'note' }, becomes)),
    h('td', { class: 'n' }, t0 ? h('span', {}, h('span', { class: 'small' }, 'since '), ago(t0)) : ''),
    h('td', { class: 'second' }, h('span', { class: 'small' }, 'comes back '), back || ''));
  return [h('table', { class: 'needs' }, h('thead', {}, h('tr', {}, ['What', 'Why, and what becomes of its requests', 'Since', 'Comes back'].map((name, i) =>
    h('th', { scope: 'col', class: i === 2 ? 'n' : null }, name)))), h('tbody', {}, rows.map(row))),
  more > 0 && h('p', {}, h('a', { href: '/map' }, `and ${fmt.count(more)} more on the map`))];
}

/** What is in force, as terms and what is to say of them. */
function force({ policy, rollout, topology, geo, rungs, signals, allowance_left_ratio: left, at }) {
  const rows = [];
  if (policy && policy.revision == null) rows.push(['Policy', 'none in force']);
  else if (policy) rows.push(['Policy', [h('strong', {}, policy.name), ` revision ${fmt.count(policy.revision)}, `, h('span', { class: 'mono', title: policy.digest }, fmt.digest(policy.digest)),
    h('span', { class: 'note' }, 'since ', ago(at(policy.since_ms)), ` ago · ${fmt.counted(policy.rules, 'rule')}`,
      policy.refused && [' · ', h('a', { href: '/policy', class: 'warn' }, 'newer file refused')])]]);
  if (rollout) rows.push(['Rollout', rollout.stage_ratio == null ? rollout.words : h('a', { href: '/policy' }, rollout.words)]);
  if (topology && !topology.digest) rows.push(['Fleet', 'none in force']);
  else if (topology) rows.push(['Fleet', [`${fmt.counted(topology.sites, 'site')}, ${fmt.counted(topology.nodes, 'node')}, `, h('span', { class: 'mono', title: topology.digest }, fmt.digest(topology.digest)),
    h('span', { class: 'note' }, 'since ', ago(at(topology.since_ms)), ' ago', topology.held && ' · a newer one is held')]]);
  if (geo) rows.push(['Geo', geo.words]);
  if (rungs) rows.push(['Rung', [rungs.words, rungs.lower?.map(({ pool, rule, rung }) => h('span', { class: 'note' }, `${pool}${rule ? `, rule ${rule}` : ''}: ${rung.replaceAll('_', ' ')}`))]]);
  if (signals) {
    const age = (name, value) => (value == null ? `${name} ${fmt.NOT_TOLD}` : `${name} ${fmt.since(value)}`);
    const more = signals.reporters_not_shown || 0;
    const all = (signals.reporters?.length || 0) + more;
    rows.push(['Signals', [[age('outcomes', signals.outcomes_ms) + (signals.outcomes_ms == null ? '' : ' old'), age('load', signals.load_ms), age('hits', signals.hits_ms)].join(', '),
      h('span', { class: 'note' }, all ? `${fmt.counted(all, 'reporter')}: ${fmt.list([...signals.reporters, ...Array(more).fill('')], Math.min(4, signals.reporters.length))}` : 'nobody reports')]]);
  }
  if (left != null) rows.push(['Change budget', `signals may move ${fmt.share(left)} of keys more this minute`]);
  return h('dl', { class: 'force' }, rows.map(([term, what]) => h('div', {}, h('dt', {}, term), h('dd', {}, what))));
}

/** Times ago as instants, to the second, so that a region is not made anew because a ms went by. */
const instant = (overview) => (ms) => (ms == null ? null : Math.round((overview.now_unix_ms - ms) / 1000) * 1000);

export function open(main) {
  let range = RANGES.find(([name]) => name === new URLSearchParams(location.search).get('range')) || RANGES[0];
  let history = null;
  let events = [];
  let charts = null;
  let flags = null;
  let drawn = null;
  let chosen = null;
  let fetchedAt = 0;
  const headline = h('h1', { tabindex: -1 });
  const line = h('p', { class: 'lead' });
  const four = h('div', { class: 'answers' });
  const logHead = h('h2', {}, '');
  const logNote = h('span', { class: 'note' });
  const buttons = h('div', { class: 'segments', role: 'group', 'aria-label': 'How far back' }, RANGES.map((of) =>
    h('button', { type: 'button', onclick: () => choose(of), 'data-range': of[0] }, of[1])));
  const box = h('div', { class: 'logbox', tabindex: 0, role: 'slider', 'aria-label': 'The log; arrow keys read the values', 'aria-valuemin': 0, 'aria-valuemax': 179,
    'aria-valuenow': 179, 'aria-valuetext': 'now' });
  const readout = h('div', { class: 'readout', hidden: true });
  const asTable = h('details', {}, h('summary', {}, 'as a table'));
  const look = h('div', {});
  const lookNote = h('span', { class: 'note' });
  const inForce = h('div', {});
  main.append(headline, line, four,
    h('section', { class: 'history' }, h('div', { class: 'head' }, logHead, logNote, buttons), h('div', { class: 'logframe' }, box, readout), asTable),
    h('div', { class: 'two' }, h('section', {}, h('div', { class: 'head' }, h('h2', {}, 'Needs a look'), lookNote), look),
      h('section', { id: 'force' }, h('div', { class: 'head' }, h('h2', {}, 'In force')), inForce)));

  function choose(of) {
    range = of;
    history = null;
    const query = new URLSearchParams(location.search);
    if (of === RANGES[0]) query.delete('range');
    else query.set('range', of[0]);
    window.history.replaceState(null, '', `/${query.size ? `?${query}` : ''}`);
    heads();
    load();
  }

  function heads() {
    logHead.textContent = range[2];
    logNote.textContent = `UTC; kept in memory by this sidecar, ${range[3]}`;
    for (const button of buttons.children) button.setAttribute('aria-pressed', button.dataset.range === range[0]);
  }

  function draw() {
    const width = Math.floor(box.clientWidth);
    if (!history || !width || !charts) return;
    const shown = flags([...events, ...store.events.filter((event) => !events.some((own) => own.number === event.number))], history.from_unix_ms);
    drawn = charts.log(history, shown, width);
    box.replaceChildren(drawn.svg);
    box.setAttribute('aria-valuemax', history.decisions_per_s.length - 1);
    if (chosen !== null) read(chosen);
    if (asTable.open) asTable.replaceChildren(asTable.firstChild, h('div', { class: 'wide', tabindex: 0, role: 'region', 'aria-label': 'The log as a table' }, charts.table(history, shown)));
  }

  async function load() {
    const asked = range[0];
    fetchedAt = performance.now();
    const [got, told] = await Promise.all([get(`/debug/history?range=${asked}`), events.length ? null : get('/debug/events?limit=1000')].map((it) => Promise.resolve(it).catch(() => null)));
    if (told) events = told.events;
    if (!got || asked !== range[0]) return;
    history = got;
    draw();
  }

  function read(i) {
    chosen = i;
    if (!drawn || !history || i == null) {
      drawn?.move(null);
      readout.hidden = true;
      return;
    }
    const { t, rows } = charts.reading(history, i);
    drawn.move(i);
    readout.hidden = false;
    readout.replaceChildren(h('strong', {}, `${fmt.time(t)} UTC`), h('dl', {}, rows.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value)))));
    const px = drawn.x(i);
    readout.style.setProperty('--x', `${px > drawn.width / 2 ? px - 12 - readout.offsetWidth : px + 12}px`);
    box.setAttribute('aria-valuenow', i);
    box.setAttribute('aria-valuetext', `${fmt.time(t)}: ${rows.map((row) => row.join(' ')).join(', ')}`);
  }

  box.addEventListener('pointermove', (event) => drawn && read(drawn.at(event.clientX - box.getBoundingClientRect().left)));
  box.addEventListener('pointerleave', () => read(null));
  box.addEventListener('blur', () => read(null));
  box.addEventListener('keydown', (event) => {
    const length = history?.decisions_per_s.length;
    if (!length) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12, Home: -length, End: length }[event.key];
    if (event.key === 'Escape') read(null);
    if (!steps) return;
    event.preventDefault();
    read(Math.min(length - 1, Math.max(0, (chosen ?? length - 1) + steps)));
  });
  asTable.addEventListener('toggle', draw);
  let frame = 0;
  const sized = new ResizeObserver(() => { cancelAnimationFrame(frame); frame = requestAnimationFrame(draw); });
  sized.observe(box);

  function show() {
    const overview = store.overview;
    const shown = overview || WAITING;
    if (headline.textContent !== shown.headline) headline.textContent = shown.headline;
    if (line.textContent !== shown.line) line.textContent = shown.line;
    region(four, shown.answers, answers);
    if (!overview) return;
    const at = instant(overview);
    const rows = overview.needs.map(({ since_ms: since, ...need }) => ({ ...need, t0: at(since) }));
    region(look, { rows, more: overview.needs_not_shown }, needs);
    const all = rows.length + (overview.needs_not_shown || 0);
    lookNote.textContent = all ? `${fmt.counted(all, 'thing')}, worst first; the rest is well` : '';
    const { signals, ...force0 } = overview.in_force || {};
    region(inForce, { ...force0, signals, since: [at(force0.policy?.since_ms), at(force0.topology?.since_ms)] }, (it) => force({ ...it, at }));
  }

  heads();
  show();
  load();
  drawing.then(([all, { flags: join }]) => { charts = all; flags = join; draw(); });
  return {
    topics,
    update(topic) {
      if (topic === 'overview') show();
      if (topic === 'restart') { events = []; load(); }
      if (topic === 'events') draw();
      if (topic === 'clock' && performance.now() - fetchedAt > Math.max(5000, history?.step_ms || 0)) load();
    },
    close() { sized.disconnect(); },
  };
}
