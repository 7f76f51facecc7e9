// The panel of one site: what it costs, where its clients are, and its nodes with all that their weight is made of.

import { h, s, mark } from './dom.js';
import * as fmt from './fmt.js';
import { store } from './store.js';
import { ago } from './frame.js';
import { worse } from './derive.js';
import { act, may } from './actions.js';

const AXIS = { from: 2, to: 500, width: 144, height: 40 };
// Buckets come as fine as they were counted; so many bars are as fine as 144 px can show.
const BARS = 28;
const TERMS = [['service', 'service'], ['queue', 'queue'], ['miss', 'misses'], ['error', 'errors'], ['cost', 'cost'], ['bias', 'bias']];

/** Times of a node on a logarithmic axis, with its p50, p90 and p99, and what its p50 usually is. */
function histogram({ histogram: of, service_p50_ms: p50, service_p90_ms: p90, service_p99_ms: p99, usual_p50_ms: usual }) {
  if (!of?.counts?.some((n) => n > 0)) return null;
  const { from, to, width, height } = AXIS;
  const x = (value) => Math.round((Math.log(Math.min(to, Math.max(from, value)) / from) / Math.log(to / from)) * width * 10) / 10;
  const bars = Array(BARS).fill(0);
  of.counts.forEach((n, i) => { bars[Math.min(BARS - 1, Math.floor((x(of.bounds_ms[i]) / width) * BARS))] += n; });
  const most = Math.max(...bars);
  const wide = width / BARS;
  const path = bars.map((n, i) => (n > 0 ? `M${Math.round(i * wide * 10) / 10} ${height}v${-Math.max(1, Math.round((height * n) / most))}h${Math.round((wide - 1) * 10) / 10}V${height}z` : '')).join('');
  const peak = (value) => (value == null ? '' : `M${x(value)} ${height + 1}l4 6h-8z`);
  return s('svg', { class: 'histogram', viewBox: `0 0 ${width} ${height + 22}`, width, height: height + 22, role: 'img',
    'aria-label': `Times: p50 ${fmt.ms(p50)}, p90 ${fmt.ms(p90)}, p99 ${fmt.ms(p99)}; p50 is usually ${fmt.ms(usual)}` },
  s('path', { class: 'times', d: path }), s('path', { class: 'base', d: `M0 ${height}H${width}` }), usual != null && s('path', { class: 'usual', d: `M${x(usual)} 0V${height}` }),
  s('path', { class: 'peaks', d: peak(p50) + peak(p90) + peak(p99) }),
  [3, 10, 30].map((value) => s('text', { x: x(value), y: height + 19, 'text-anchor': 'middle' }, value)), s('text', { x: x(100) - 6, y: height + 19 }, `100${fmt.NB}ms`));
}

const factor = (value) => (value == null ? fmt.NOT_TOLD : value.toFixed(2));

function weight({ capacity, state, health: { admission, condition_ratio: condition, ramp_ratio: ramp, weight_ratio: ratio } }) {
  // A node that is left out weighs nothing now: what is made of the factors is what it will come back with.
  const isOut = admission && admission !== 'admitted' && condition != null && ramp != null;
  // One that nothing is sent to by somebody's word weighs nothing whatever its factors are: that is a factor too.
  const isUnused = !isOut && ratio === 0;
  const whole = capacity * (condition ?? 1) * (ramp ?? 1) * (isUnused ? 0 : 1);
  const cell = (value, name) => h('div', {}, h('strong', {}, value), h('span', {}, name));
  return h('div', { class: 'weight' }, cell(whole > 0 && whole < 9.95 ? whole.toFixed(1) : fmt.count(whole), isOut ? 'when back' : 'weight'), h('span', {}, '='), cell(fmt.count(capacity), 'capacity'),
    h('span', {}, '×'), cell(factor(condition), 'condition'), h('span', {}, '×'), cell(factor(ramp), 'ramp'),
    isUnused && [h('span', {}, '×'), cell('0', state === 'ready' ? 'not used' : state === 'maintenance' ? 'maintenance' : 'drained')]);
}

function node(of, at, done) {
  const { id, mark: kind, words, why, back, since_ms: lasts, override, health = {}, address } = of;
  const isOut = kind === 'bad';
  const { service_p50_ms: p50, service_p90_ms: p90, service_p99_ms: p99, load_age_ms: age } = health;
  const facts = [fmt.rate(health.requests_per_second), health.utilisation == null ? 'load not told' : `load ${fmt.share(health.utilisation)}${age > 10000 ? `, ${fmt.since(age)} ago` : ''}`,
    health.hit_ratio == null ? 'hits not told' : `hits ${fmt.share(health.hit_ratio)}`].join(', ');
  const isDrained = override || of.state === 'drain' || of.state === 'maintenance';
  const breaker = health.breaker?.state;
  return h('section', { class: 'node', id: `node-${id}` },
    h('h3', {}, mark(kind), h('span', { class: 'id', title: address }, id), h('span', { class: 'second' }, words)),
    why && h('p', {}, why, back && ` Comes back: ${back.replace(/[^.]$/, '$&.')}`),
    h('div', { class: 'facts' }, h('div', {}, h('p', { class: 'note' }, facts), h('p', { class: 'note' }, p50 == null ? 'no times told' :
      `${isOut ? 'before it was left: ' : ''}p50${fmt.NB}${fmt.ms0(p50)}, ${p90 == null ? '' : `p90${fmt.NB}${fmt.ms0(p90)}, `}p99${fmt.NB}${fmt.ms(p99)}`),
    // Since when it is as it is said to be above, which may be known of some states only.
    kind !== 'well' && lasts != null && h('p', { class: 'note' }, 'since ', ago(at(lasts)), ' ago', isOut && health.source && health.source !== 'default' ? `, says ${health.source.replaceAll('_', ' ')}` : '')), weight(of), histogram(health)),
    h('p', { class: 'doings' }, isDrained ? act('undrain', { node: id }, done) : act('drain', { node: id }, done), breaker && breaker !== 'closed' && act('reset_breaker', { node: id }, done)));
}

/** What a request of a class costs at this site, beside the way there. */
function costs(site, wanted, choose) {
  const classes = site.signals?.classes || [];
  if (!classes.length) return null;
  const of = classes.find((one) => one.class === wanted) || classes[0];
  const terms = TERMS.filter(([name]) => of.terms_ms[name]).map(([name, words]) => `${words} ${fmt.ms0(of.terms_ms[name])}`);
  const old = Math.max(0, ...Object.values(of.evidence || {}).map((it) => it.age_ms));
  // Without names one class is not to be told from another.
  const select = classes.length > 1 && classes.every((one) => one.class !== undefined) && h('select', { name: 'class', 'aria-label': 'Class', onchange: (event) => choose(event.target.value) },
    classes.map((one) => h('option', { value: one.class, selected: one === of }, one.class || 'no class')));
  return h('p', { class: 'costs' }, 'Costs a request', select ? [' of ', select] : '', ', beside the way: ', h('strong', {}, fmt.ms(of.choice_ms)), terms.length ? ` = ${terms.join(' + ')}` : '', '.',
    old > 60000 ? ` The oldest of it was seen ${fmt.since(old)} ago.` : '', ' ', clients(site.flows));
}

function clients(flows = []) {
  const by = new Map();
  for (const flow of flows) by.set(flow.country || 'elsewhere', (by.get(flow.country || 'elsewhere') || 0) + flow.share_ratio);
  const shares = [...by].sort((a, b) => b[1] - a[1]).slice(0, 4).map(([country, part]) => `${country} ${fmt.share(part)}`);
  return shares.length ? `Clients: ${shares.join(', ')}.` : '';
}

/** The panel's content. `more` has the chosen class, and what to do when something was done. */
export function panel({ site: told, nodes, at, id, row }, { wanted, choose, done, close }) {
  // What the door does not tell of one site it may tell of all.
  const known = Object.fromEntries(Object.entries(row || {}).filter(([, value]) => value != null));
  const site = told && { ...known, ...Object.fromEntries(Object.entries(told).filter(([, value]) => value != null)) };
  const cell = (name, value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));
  const head = h('div', { class: 'head' }, h('h2', { tabindex: -1, id: 'site-head' }, id, ' ', h('span', { class: 'second' }, [site?.city || site?.labels?.city, site?.country].filter(Boolean).join(', '))),
    site && h('span', {}, mark(site.mark), ' ', site.words), h('a', { href: close, class: 'right', 'data-key': 'close' }, 'close'));
  if (!site) return [head, h('p', { class: 'note' }, '…')];
  const instant = (ms) => Math.round((at - ms) / 1000) * 1000;
  return [head, h('dl', { class: 'cells' }, cell('Requests', fmt.rate(site.rate ?? site.requests_per_second)), cell('Load', fmt.share(site.utilisation)), cell('Hit ratio', fmt.share(site.hit_ratio)), cell('Egress', fmt.price(site.price_usd_per_gb))),
    costs(site, wanted, choose),
    [...nodes].sort((a, b) => worse(a.mark, b.mark)).map((one) => node(one, instant, done)),
    h('p', { class: 'doings' }, ['drain', 'maintenance'].includes(site.state) ? act('undrain', { site: id }, done) : act('drain', { site: id }, done)),
    !may() && h('p', { class: 'note', id: 'why-not' }, `Needs the role operate; you have ${(store.sidecar?.roles || []).join(' and ') || 'none'}. In a terminal: `, h('span', { class: 'mono' }, `tradewind drain ${nodes[0]?.id || `--site ${id}`} --why TEXT`))];
}
