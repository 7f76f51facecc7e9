// Rank and fall back: the nodes in the key's race beside its owner, those that could not run, and what the caller tries.

import { h, mark } from './dom.js';
import * as fmt from './fmt.js';

/** Words for why a node, or a site, could not be named; the word itself stands in the title. */
export const WHY = {
  excluded_by_caller: 'the caller had tried it, or can not use it', purge_behind: 'has not dropped what was purged', maintenance: 'in maintenance', draining: 'draining', capability: 'lacks a label the rule requires', geofence: 'outside the fence',
  breaker_open: 'breaker open', recovering: 'recovering, not with this key', unhealthy: 'not well', overloaded: 'too much load', too_far: 'too far behind the best', no_node: 'no node left',
  owner_out: 'its home is out', outweighed: 'it counts for less than its capacity', steered: 'what was measured speaks for another site',
};
// The same of several, as what is said of them.
const MANY = { excluded_by_caller: 'that the caller had tried, or can not use', capability: 'that lack a label the rule requires', breaker_open: 'with an open breaker', too_far: 'too far behind the best' };
const ROLES = { owner: 'owner', hot_copy: 'carries the hot key', probe: 'tried with a slice of its keys', trial: 'its site is tried', next_in_order: 'next in the key’s order', next_site: 'owner at the next best site',
  next_tier: 'a later tier', origin: 'the origin' };
const MOST = 12;

const word = (why) => h('span', { title: why }, WHY[why] || why.replaceAll('_', ' '));

export function race({ decision, explanation }) {
  const { nodes, eliminated = {}, nodes_not_shown: hidden = 0 } = explanation;
  const ran = nodes.filter((node) => node.race > 0).sort((a, b) => a.race - b.race);
  // Nodes of other sites are counted below; a row is for those that might have been.
  const near = new Set([...ran.map((node) => node.site), ...(decision.candidates || []).map((one) => one.site), explanation.home?.site]);
  const out = nodes.filter((node) => node.eliminated && near.has(node.site));
  const owner = ran[0]?.race;
  const shown = ran.slice(0, MOST);
  const most = Math.max(...shown.map((node) => node.race), 0);
  const weight = (node) => h('td', { class: 'n', title: node.capacity ? `capacity ${fmt.count(node.capacity)}${node.condition == null ? '' : ` × condition ${node.condition.toFixed(2)} × ramp ${node.ramp.toFixed(2)}`}` : null },
    h('span', { class: 'small' }, 'weight '), node.weight < 9.95 ? node.weight.toFixed(1) : fmt.count(node.weight));
  const name = (node) => h('th', { scope: 'row' }, h('a', { class: 'quiet', href: `/map?node=${encodeURIComponent(node.node)}` }, h('strong', {}, node.node)), ' ', h('span', { class: 'second' }, node.site));
  const runner = (node) => {
    const ratio = node.race / owner;
    const isOwner = node === ran[0];
    return h('tr', {}, name(node), weight(node), h('td', { class: 'wide-cell' }, h('span', { class: 'run' }, h('span', { class: 'meter', vars: { part: node.race / most } }), h('span', { class: 'n' }, isOwner ? '1' : fmt.times(ratio)))),
      h('td', { class: 'wide-cell' }, node.place > 0 ? [isOwner ? [h('strong', {}, 'owner'), ', '] : '', `place ${node.place} in the answer`] : h('span', { class: 'second' }, `would own it at ${ratio.toFixed(2)} times its weight`)));
  };
  const loser = (node) => h('tr', {}, name(node), weight(node), h('td', { class: 'second wide-cell' }, 'did not run'), h('td', { class: 'wide-cell' }, mark(node.eliminated === 'draining' || node.eliminated === 'maintenance' ? 'drained' : 'bad'), ' ', word(node.eliminated)));
  const counts = Object.entries(eliminated).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]).map(([why, n]) => `${fmt.counted(n, 'node')} ${(n > 1 && MANY[why]) || WHY[why] || why.replaceAll('_', ' ')}`);
  return [h('table', { class: 'race' }, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Node'), h('th', { scope: 'col', class: 'n' }, 'Weight'), h('th', { scope: 'col' }, 'Time in the race, beside the owner’s'), h('th', { scope: 'col' }, 'Fate'))),
    h('tbody', {}, shown.map(runner), out.slice(0, MOST / 2).map(loser))),
  counts.length > 0 && h('p', { class: 'note' }, `Left out of the race: ${counts.join(', ')}.`),
  (ran.length > shown.length || hidden > 0) && h('p', { class: 'note' }, `${fmt.counted(ran.length - shown.length + hidden, 'node')} more.`)];
}

export function fallback({ candidates }) {
  return h('table', { class: 'fall' }, h('tbody', {}, candidates.map((one, i) => h('tr', {}, h('td', { class: 'second' }, i + 1), h('th', { scope: 'row', title: one.address }, one.node), h('td', { title: one.role }, ROLES[one.role] || one.role.replaceAll('_', ' ')),
    h('td', { class: 'n' }, one.expected_ms == null ? '' : fmt.ms(one.expected_ms), ' ', h('span', { class: 'second' }, fmt.duration(one.attempt_timeout) ? `up to ${fmt.span(fmt.duration(one.attempt_timeout))}` : ''))))));
}
