// The bill of a decision: a bar per site of its terms, and the magenta measure of what would change the choice.

import { h, s, mark } from './dom.js';
import * as fmt from './fmt.js';
import { WHY } from './race.js';

/** The order of the terms, always this one. Service is what a hit takes at an idle node: it counts like the others. */
export const TERMS = ['network', 'service', 'queue', 'miss', 'error', 'cost', 'bias'];
const FIRST = 10;
// Evidence older than this may be of another time of the day.
const OLD_MS = 60000;
// More than half of it assumed: then the term is no measurement.
const ASSUMED = 0.5;

/** The distance of lines on the axis: at least so much, and a number that is written whole. */
function tick(least) {
  const power = 10 ** Math.max(0, Math.floor(Math.log10(least || 1)));
  return [1, 2, 5, 10].find((step) => step * power >= least) * power;
}

/** What a site is chosen by: its total, or what is held still for it. */
const choice = (site) => site.choice_ms ?? site.total_ms;

/** Where each term of a site begins and ends, in ms. What is below 0 is drawn left of 0. */
export function spans(site) {
  let at = 0;
  let below = 0;
  const made = [];
  for (const term of TERMS) {
    const value = site[`${term}_ms`] || 0;
    if (value < 0) { below += value; made.push({ term, from: below, ms: -value, isBelow: true }); }
    else if (value > 0) { made.push({ term, from: at, ms: value }); at += value; }
  }
  return made;
}

const says = (site, used, scope) => (site.site === used ? 'serves it' : scope.length > 1 && scope.includes(site) ? 'shares the key' : site.standing === 'no_node' ? 'no node left'
  : site.distance_km == null ? '' : fmt.km(site.distance_km));

function row(site, axis, used, scope) {
  const drawn = spans(site).map(({ term, from, ms }) => {
    const evidence = site.evidence?.[term];
    const isAssumed = evidence ? evidence.prior_share > ASSUMED : false;
    return h('i', { class: `term-${term}${isAssumed ? ' assumed' : ''}`, title: `${term} ${fmt.ms(site[`${term}_ms`])}${isAssumed ? ', assumed' : ''}`, 'data-ms': ms, vars: { from: (from - axis.from) / axis.span, part: ms / axis.span } });
  });
  const old = Math.max(0, ...['service', 'queue', 'error', 'miss'].map((name) => site.evidence?.[name]).filter((it) => it?.samples > 0).map((it) => it.age_ms));
  const end = spans(site).filter((one) => !one.isBelow).reduce((most, one) => Math.max(most, one.from + one.ms), 0);
  return h('li', { class: site.site === used ? 'used' : null, 'data-site': site.site }, h('strong', {}, site.site), h('span', { class: 'note' }, says(site, used, scope)),
    h('span', { class: 'bars', role: 'img', 'aria-label': TERMS.filter((term) => site[`${term}_ms`]).map((term) => `${term} ${fmt.ms(site[`${term}_ms`])}`).join(', ') || 'nothing' }, drawn,
      old > OLD_MS && h('span', { class: 'late', vars: { from: (end - axis.from) / axis.span } }, `nothing seen for ${fmt.since(old)}`)),
    h('span', { class: 'total', title: site.choice_ms == null ? 'the sum' : `chosen by ${fmt.ms(site.choice_ms)}, held still while the terms tremble` }, fmt.ms0(site.total_ms), h('span', { class: 'small' }, `${fmt.NB}ms`)));
}

/** What would change the choice, as a measure between two sums, or null. */
export function measure({ sites = [], runner_up_site: runner, flip_ms: flip, joining_site: joining, join_ms: join, spread_ms: spread, next_sharing_site: sharing, sharing_weight_ratio: ratio }) {
  const [best] = sites;
  if (!best) return null;
  // With one site in scope the question is what would win instead of it; with several, what would share.
  const isShared = sites.filter((site) => ['in_scope', 'sharing'].includes(site.standing)).length > 1;
  if (joining && join > 0 && (isShared || !runner)) {
    const site = sites.find((one) => one.site === joining);
    const to = site ? choice(site) : undefined;
    return { from: to == null ? undefined : to - join, to, scope: [choice(best), to == null ? choice(best) + (spread || 0) : to - join], isBox: true, words: `${joining} would share it if it were ${fmt.ms(join)} faster` };
  }
  if (runner && flip >= 0) {
    const from = choice(best);
    return { from, to: from + flip, words: `${runner} would win if ${best.site} were ${fmt.ms(flip)} slower` };
  }
  if (sharing) return { words: `${sharing} would come first if it weighed ${fmt.times(ratio)} as much` };
  return null;
}

const LEFT = { wide: 154, narrow: 0 };
const RIGHT = { wide: 66, narrow: 0 };

/** Draws grid and measure over the rows, for the width that they have. */
function overlay([under, svg], box, list, axis, what) {
  const width = box.clientWidth;
  if (!width) return;
  const isNarrow = matchMedia('(max-width: 700px)').matches;
  const side = isNarrow ? 'narrow' : 'wide';
  const [left, right] = [LEFT[side], width - RIGHT[side]];
  const x = (value) => Math.round((left + ((value - axis.from) / axis.span) * (right - left)) * 10) / 10;
  const top = 18;
  const bottom = list.offsetTop + list.offsetHeight;
  const grid = [];
  const drawn = [];
  for (let value = Math.ceil(axis.from / axis.step) * axis.step; value <= axis.from + axis.span * 0.98; value += axis.step)
    grid.push(s('path', { class: 'grid', d: `M${x(value)} ${top}V${bottom}` }), s('text', { x: x(value), y: 12, 'text-anchor': value === axis.from ? 'start' : 'middle' }, value === 0 ? `0${fmt.NB}ms` : fmt.count(value)));
  if (what?.to != null) {
    const y = bottom + 12;
    const [a, b] = [x(what.from), x(what.to)];
    drawn.push(s('path', { class: 'measure dotted', d: `M${a} ${top + 14}V${y + 5}M${b} ${top + 14}V${y + 5}` }), s('path', { class: 'measure', d: `M${a} ${y}H${b}M${a + 4} ${y - 3}L${a} ${y}l4 3M${b - 4} ${y - 3}L${b} ${y}l-4 3` }));
    if (what.isBox) drawn.push(s('rect', { class: 'measure', x: x(what.scope[0]), y: y - 4, width: Math.max(2, a - x(what.scope[0])), height: 8 }));
    const fits = b + 10 + what.words.length * 6.6 < width;
    drawn.push(s('text', { class: 'says', x: fits ? b + 10 : Math.min(width, Math.max(b, what.words.length * 6.6)), y: fits ? y + 4 : y + 20, 'text-anchor': fits ? 'start' : 'end' }, what.words));
  }
  under.replaceChildren(...grid);
  svg.replaceChildren(...drawn);
}

/** Sites without bars: those that could not be chosen, by reason. */
function leftOut(eliminated = []) {
  const by = Map.groupBy(eliminated, ({ why }) => why);
  return [...by].map(([why, sites]) => h('div', { class: 'left-out' }, h('span', {}, fmt.list(sites.map(({ site }) => site), 2)), h('span', {}, mark('bad'), ' ', WHY[why] || why.replaceAll('_', ' '))));
}

/** The bill, or nothing where no site was scored. */
export function bill({ decision, explanation }) {
  const { sites = [] } = explanation;
  if (!sites.length) return leftOut(explanation.eliminated_sites).length ? leftOut(explanation.eliminated_sites) : null;
  const used = decision.candidates?.[0]?.site;
  const scope = sites.filter((site) => ['in_scope', 'sharing'].includes(site.standing));
  const what = measure(explanation);
  let isWhole = false;
  const box = h('div', { class: 'bill' });
  const layers = [0, 1].map(() => s('svg', { 'aria-hidden': 'true', width: '100%', height: '100%' }));
  const rest = h('span', {});
  const list = h('ol', { 'aria-label': 'Sites, the least first' });
  let axis = null;
  function show() {
    const least = sites.slice(0, FIRST);
    const usedSite = sites.find((site) => site.site === used);
    const shown = isWhole ? sites : usedSite && !least.includes(usedSite) ? [...least, usedSite] : least;
    const all = shown.flatMap(spans);
    const most = Math.max(what?.to || 0, ...all.filter((one) => !one.isBelow).map((one) => one.from + one.ms));
    const lowest = Math.min(0, ...all.filter((one) => one.isBelow).map((one) => one.from));
    // A little air at the right, where "nothing seen" may stand.
    axis = { from: lowest, span: most * 1.04 - lowest || 1, step: tick((most - lowest) / 8) };
    list.replaceChildren(...shown.map((site) => row(site, axis, used, scope)));
    const behind = sites.length - shown.length + (explanation.sites_not_shown || 0);
    rest.replaceChildren(...(behind > 0 ? [`${fmt.counted(behind, 'site')} further behind `, sites.length > shown.length && h('button', { class: 'link', type: 'button', onclick: () => { isWhole = true; show(); } }, 'show')].filter(Boolean) : []));
    overlay(layers, box, list, axis, what);
  }
  new ResizeObserver(() => axis && overlay(layers, box, list, axis, what)).observe(box);
  const present = TERMS.filter((term) => sites.some((site) => site[`${term}_ms`]));
  box.append(h('div', { class: 'axis' }), layers[0], list, h('p', { class: `measured${what ? '' : ' none'}` }, what && h('span', { class: what.to == null ? '' : 'unseen' }, `${what.words}.`)), layers[1]);
  show();
  return [box, leftOut(explanation.eliminated_sites), h('p', { class: 'legend' }, present.map((term) => h('span', {}, h('span', { class: `swatch term-${term}` }), term)),
    h('span', {}, h('span', { class: 'swatch assumed' }), 'assumed, not measured'), rest, explanation.last_mile_ms != null && h('span', {}, `the last mile is in no bar: ${fmt.ms(explanation.last_mile_ms)} for every site`),
    explanation.spread_cut > 0 && h('span', {}, `${fmt.counted(explanation.spread_cut, 'site')} within the spread do not share, because eight do`))];
}
