// What a candidate policy would do, out of the answer of /debug/plan.

import { h, mark } from './dom.js';
import * as fmt from './fmt.js';
import { notice } from './frame.js';

const CHANGES = { hit: '', newly_hit: 'newly hit', hit_no_more: 'hit no more', never_hit: 'never hit' };

const percent = (value) => fmt.share(value == null ? undefined : value / 100);
const cell = (name, value, small) => h('div', {}, h('dt', {}, name), h('dd', {}, value, small && h('small', {}, small)));
const signed = (value) => (value == null ? fmt.NOT_TOLD : `${value > 0 ? '+' : ''}${fmt.ms(value)}`);

function cells({ requests, keys, clients, expected_ms: expected, nodes = [], newly_refused_percent: refused }) {
  const busiest = nodes.reduce((most, node) => (node.after > (most?.after ?? -1) ? node : most), null);
  const before = nodes.reduce((most, node) => Math.max(most, node.before), 0);
  const of = ({ moved, looked_at: all }) => `${fmt.count(moved)} of ${fmt.count(all)}`;
  return h('dl', { class: 'cells' }, cell('Requests to another node', percent(requests.moved_percent), of(requests)), cell('Clients to another site', percent(clients.moved_percent), `${fmt.count(clients.moved)} of ${fmt.counted(clients.looked_at, 'group')}`),
    cell('Expected time', signed(expected?.mean_increase), expected?.before && expected?.after ? `${fmt.ms(expected.before.mean)} to ${fmt.ms(expected.after.mean)}` : ''),
    cell('Busiest node', busiest ? fmt.share(busiest.after) : fmt.NOT_TOLD, busiest && `${busiest.id}, ${fmt.share(before)} before`), keys && cell('Keys moved', percent(keys.moved_percent), of(keys)), refused > 0 && cell('Newly refused', percent(refused)));
}

function byRule({ rules = [] }) {
  return h('table', {}, h('thead', {}, h('tr', {}, ['Rule', 'Requests before', 'after'].map((name, i) => h('th', { scope: 'col', class: i ? 'n' : null }, name)))), h('tbody', {}, rules.map(({ rule, before, after, change }) =>
    h('tr', {}, h('th', { scope: 'row' }, rule, CHANGES[change] && h('span', { class: 'note' }, CHANGES[change])), h('td', { class: 'n' }, before == null ? 'no such rule' : fmt.count(before)), h('td', { class: 'n' }, after == null ? 'no such rule' : fmt.count(after))))));
}

function bySite({ sites = [] }) {
  const most = sites.filter((site) => site.requests.before !== site.requests.after).sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before)).slice(0, 4);
  if (!most.length) return h('p', { class: 'note' }, 'No site gains or loses requests.');
  return h('p', { class: 'note' }, 'Sites that gain or lose most: ', most.map((site, i) => [i ? ', ' : '', h('strong', {}, site.id), ` ${fmt.count(site.requests.before)} to ${fmt.count(site.requests.after)}`]), '.');
}

/** The outcome: every fault, or the figures, the moves and the gates. */
export function plan({ faults = [], breaches = [], lines = [], report: made, report_json: json }) {
  if (faults.length) return notice('bad', `It would be refused, ${fmt.counted(faults.length, 'fault')}.`, h('pre', {}, faults.join('\n')));
  let report = made;
  try { report ??= JSON.parse(json); } catch { /* without figures the words are shown */ }
  const gates = breaches.map(({ gate, text }) => notice('warn', 'Above the gate:', [text, ' (', h('code', {}, gate), '). Applying it needs a reason, which is kept.']));
  const passed = !breaches.length && notice('well', 'It passes the gates.', 'Nothing was taken into force.');
  if (!report) return [lines.map((line) => h('p', {}, line)), gates, passed];
  return [cells(report), byRule(report), bySite(report), report.examples?.length > 0 && h('details', {}, h('summary', {}, 'Moves, the first of each kind'), h('ul', { class: 'note' }, report.examples.map(({ request, client, from, to, why }) =>
    h('li', {}, `${request}, from ${client}: ${from ? `${from.node} at ${from.site}` : 'refused'} to ${to ? `${to.node} at ${to.site}` : 'refused'}: `, why.replaceAll('`', ''))))),
  report.expectations?.filter((one) => one.upshot === 'broken').map((one) => h('p', {}, mark('bad'), ` broken: rule ${one.rule} expects ${one.claim}; it comes out at ${one.came_out}`)), gates, passed];
}
