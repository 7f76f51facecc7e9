// Policy: what is in force, what is refused, a rollout, the rules with their traffic, revisions, and trying a change.

import { h, mark, region } from './dom.js';
import * as fmt from './fmt.js';
import { store, get, post, now } from './store.js';
import { ago, notice, ticked } from './frame.js';
import { compare, diff } from './diff.js';
import { rollout } from './rollout.js';
import { plan } from './plan.js';

export const topics = ['events'];
const AGAIN_MS = 5000;
const UNHIT_MS = 7 * 86400000;

/** A rule's row: what it is for, how it is undone, whom to ask, and what it gets. */
function rule(of, i) {
  const { name, intent, rollback, owner, rate, share_ratio: part, match, last_hit_unix_ms: hitAt, expires, expired } = of;
  const hit = of.last_hit_ms ?? (hitAt == null ? undefined : now() - hitAt);
  const marks = [expired && [mark('warn'), ` expired on ${expires}`], hit > UNHIT_MS && [mark('warn'), ` not hit for ${fmt.since(hit)}`]].filter(Boolean);
  return h('tr', {}, h('td', { class: 'second' }, i + 1), h('td', { class: 'what' }, h('a', { href: `/live?rule=${encodeURIComponent(name)}` }, name), h('p', {}, ticked(intent)),
    h('span', { class: 'note' }, 'Undo: ', ticked(rollback)), match?.length > 0 && h('span', { class: 'note match' }, `Matches: ${match.join('; ')}`), marks.map((one) => h('span', { class: 'note warn' }, one))),
  h('td', { class: 'second', title: owner }, (owner || '').split('@')[0]), h('td', { class: 'n' }, fmt.rate(rate)), h('td', { class: 'share' }, fmt.share(part), h('span', { class: 'meter', vars: { part: part || 0 } })));
}

function rules({ rules: all, rules_not_shown: more }) {
  const unhit = all.filter((one) => !(one.share_ratio > 0)).map((one) => one.name);
  return [h('table', { class: 'rules' }, h('thead', {}, h('tr', {}, h('td', {}), h('th', { scope: 'col' }, 'Rule, and why it is there'), h('th', { scope: 'col' }, 'Owner'), h('th', { scope: 'col', class: 'n' }, 'Requests'), h('th', { scope: 'col', class: 'n' }, 'Share'))), h('tbody', {}, all.map(rule))),
    h('p', { class: 'note' }, unhit.length ? `Not hit in the last 15 minutes: ${fmt.list(unhit, 8)}. ` : 'Every rule was hit in the last 15 minutes. ', 'Rules that nobody hits for 7 days, or that expire, are marked here.', more > 0 && ` ${fmt.counted(more, 'rule')} more.`)];
}

function movedWords({ moved }) {
  if (!moved) return null;
  const by = Object.entries(moved.by_rule || {}).filter(([, part]) => part > 0).sort((a, b) => b[1] - a[1]).map(([name, part]) => `${fmt.share(part)} of ${name}`);
  return h('p', { class: 'note' }, `Moved ${fmt.share(moved.moved_ratio)} of requests${by.length ? `: ${fmt.list(by, 5)}` : ''}.`);
}

export function open(main) {
  let policy = null;
  let revisions = null;
  let rolling = null;
  let fetchedAt = 0;
  let fault = '';
  const diffs = new Map();
  const headline = h('h1', { tabindex: -1 }, '…');
  const lead = h('p', { class: 'lead' });
  const refused = h('div', {});
  const rolls = h('div', {});
  const list = h('div', {});
  const past = h('div', {});
  const pick = ['a', 'b'].map((name) => h('select', { name, 'aria-label': name === 'a' ? 'Compare revision' : 'with revision' }));
  const compared = h('div', { class: 'compared' });
  const text = h('textarea', { id: 'candidate', spellcheck: 'false', autocapitalize: 'off' });
  const planIt = h('button', { type: 'submit', class: 'first' }, 'Plan it');
  const planned = h('span', { class: 'note', role: 'status' });
  const outcome = h('div', { class: 'plan' });
  const chooser = h('form', { class: 'doings compare', hidden: true }, h('span', {}, 'Compare '), pick[0], h('span', {}, ' with '), pick[1], h('button', {}, 'Compare'));
  const form = h('form', {}, h('label', { class: 'field', for: 'candidate' }, h('span', {}, 'Candidate policy (YAML)')), text, h('div', { class: 'doings' }, planIt, planned));
  main.append(headline, lead, refused, rolls, h('div', { class: 'two' }, h('section', {}, h('div', { class: 'head' }, h('h2', {}, 'Rules'), h('span', { class: 'note' }, 'the first that matches decides; shares of the last 15 minutes')), list),
    h('section', {}, h('div', { class: 'head' }, h('h2', {}, 'Revisions'), h('span', { class: 'note' }, 'newest first')), past, chooser, compared)),
  h('section', {}, h('div', { class: 'head' }, h('h2', {}, 'Try a change'), h('span', { class: 'note' }, 'paste a policy; nothing is taken into force here')), h('div', { class: 'try' }, form, outcome)));

  const link = (a, b) => `/policy?compare=${a}..${b}`;

  function revision(of, inForce) {
    const shown = diffs.get(`${of.revision}`);
    return h('div', { class: 'revision' }, h('p', {}, h('strong', {}, of.revision), ' ', h('span', { class: 'mono', title: of.digest }, fmt.digest(of.digest)), of.in_force && [' ', mark('well'), h('span', { class: 'ok' }, ' in force')],
      h('span', { class: 'second' }, ' · ', of.author ? `${of.author}, ` : `${(of.source || '').replaceAll('_', ' ')}, `, ago(of.at_unix_ms), ' ago')), of.message && h('p', {}, of.message), movedWords(of),
    of.in_force && of.changes?.length > 0 && h('ul', {}, of.changes.map((change) => h('li', {}, change))), of.in_force && shown && diff(shown.lines),
    !of.in_force && inForce && h('p', {}, h('a', { href: link(of.revision, inForce), class: 'note' }, `Compare with revision ${inForce}`)));
  }

  function fileName() {
    return /^([^\s:]+):\d+/.exec(policy?.refused?.faults?.[0] || '')?.[1]?.split('/').pop() || 'the policy file';
  }

  function draw() {
    const overview = store.overview;
    if (fault && !policy) {
      headline.textContent = 'No policy is in force.';
      lead.textContent = fault;
      return;
    }
    if (!policy) return;
    const words = overview?.in_force?.rollout?.stage_ratio == null ? '' : `; ${overview.in_force.rollout.words}`;
    const head = `Revision ${fmt.count(policy.revision)} is in force${words}.`;
    if (headline.textContent !== head) headline.textContent = head;
    const current = revisions?.find((of) => of.in_force);
    const from = (current?.source || '').replaceAll('_', ' ');
    region(lead, [policy.name, policy.digest, current?.at_unix_ms], () => [`${policy.name}, `, current && ['taken ', ago(current.at_unix_ms), ' ago', from && [' from ', h('span', { title: overview?.in_force?.policy?.source }, overview?.in_force?.policy?.source?.split('/').pop() || from)], ', '], 'digest ', h('span', { class: 'mono', title: policy.digest }, policy.digest.slice(0, 16)), '.']);
    const bad = policy.refused;
    region(refused, bad ? [bad.faults, bad.t0] : null, () => bad && notice('warn', [`What ${fileName()} says now is refused, for `, ago(bad.t0), '.'], ['Nothing of it is in force.', h('pre', {}, bad.faults.join('\n'))],
      bad.text != null && h('button', { type: 'button', 'data-key': 'compare-refused', onclick: () => { compared.replaceChildren(h('h3', {}, `In force, and ${fileName()}`), diff(compare(policy.text, bad.text))); compared.scrollIntoView({ block: 'center' }); } }, 'Compare with what is in force')));
    region(rolls, [rolling, store.sidecar?.roles, Math.floor(now() / 5000)], () => rolling && rollout(rolling, load));
    region(list, policy.rules, () => rules(policy));
    region(past, [revisions, [...diffs.keys()]], () => revisions?.map((of) => revision(of, current?.revision)) || '…');
  }

  async function showDiff() {
    const wanted = /^(\d+)\.\.(\d+)$/.exec(new URLSearchParams(location.search).get('compare') || '');
    if (!wanted) return compared.replaceChildren();
    const [, a, b] = wanted;
    const got = await get(`/debug/revisions/${b}?against=${a}`).catch((error) => ({ error: error.message }));
    compared.replaceChildren(h('h3', {}, `Revision ${a}, and ${b}`), got.error ? h('p', { class: 'fault' }, got.error) : h('div', {}, got.changes?.length > 0 && h('ul', {}, got.changes.map((change) => h('li', {}, change))), diff(got.lines)));
    return compared.scrollIntoView({ block: 'nearest' });
  }

  async function load() {
    fetchedAt = now();
    const failed = (error) => { fault = error.message; return null; };
    const [one, two, three] = await Promise.all([get('/debug/policy').catch(failed), get('/debug/revisions').catch(() => null), get('/debug/rollouts').catch(() => null)]);
    if (one) {
      policy = one;
      if (policy.refused) policy.refused.t0 = policy.refused.since_unix_ms ?? Math.round((now() - policy.refused.since_ms) / 2000) * 2000;
      if (!text.value && policy.text) text.value = policy.text;
    }
    revisions = two?.revisions || revisions;
    if (three) rolling = three;
    const current = revisions?.find((of) => of.in_force);
    chooser.hidden = !(revisions?.length > 2);
    if (revisions && pick[0].options.length !== revisions.length) pick.forEach((select, i) => {
      select.replaceChildren(...revisions.map((of) => h('option', { value: of.revision }, of.revision)));
      select.selectedIndex = i ? 0 : 1;
    });
    if (current?.parent && !diffs.has(`${current.revision}`)) {
      const got = await get(`/debug/revisions/${current.revision}?against=${current.parent}`).catch(() => null);
      if (got) diffs.set(`${current.revision}`, got);
    }
    draw();
  }

  chooser.addEventListener('submit', (event) => {
    event.preventDefault();
    document.dispatchEvent(new CustomEvent('console:go', { detail: link(pick[0].value, pick[1].value) }));
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    planIt.disabled = true;
    planned.textContent = 'planning …';
    const began = performance.now();
    try {
      const got = await post('/debug/plan', text.value);
      planned.textContent = got.faults?.length ? `refused, ${fmt.counted(got.faults.length, 'error')}` : `good: no errors; planned in ${fmt.ms(performance.now() - began)} against revision ${got.revision}`;
      outcome.replaceChildren(...[plan(got)].flat(9).filter(Boolean));
    } catch (error) {
      planned.textContent = '';
      outcome.replaceChildren(h('p', { class: 'fault', role: 'alert' }, error.message, error.status === 413 && ['; in a terminal: ', h('code', {}, 'tradewind plan OLD NEW')]));
    }
    planIt.disabled = false;
  });

  load();
  showDiff();
  return { topics, revisit: showDiff, update(topic, data) {
    if (topic === 'overview') draw();
    const isChange = topic === 'events' && data.events?.some((event) => ['revision', 'refused', 'rollout'].includes(event.kind));
    if (topic === 'restart') diffs.clear();
    if (topic === 'restart' || isChange || (topic === 'clock' && now() - fetchedAt > AGAIN_MS)) load();
  } };
}
