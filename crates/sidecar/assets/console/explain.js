// Explain: one request asked, and the five steps of its answer. The address bar is the question, so every answer is a link.

import { h, mark } from './dom.js';
import * as fmt from './fmt.js';
import { store, get } from './store.js';
import { copier } from './frame.js';
import { bill } from './bill.js';
import { race, fallback, WHY } from './race.js';

export const topics = [];
const MORE = [['method', 'Method'], ['header', 'Headers, name: value; …'], ['class', 'Class'], ['tried', 'Nodes tried'], ['pool', 'Pool']];
const PASSED = ['host', 'path', 'query', 'client', 'method', 'class', 'tried', 'pool', 'only', 'candidates', 'country', 'asn', 'lat', 'lon'];

/** Host, path and query of what was typed: a URL with or without its scheme, or a path. */
export function split(text) {
  // Browsers keep what is behind a # to themselves.
  const trimmed = text.trim().replace(/^[a-z][a-z+.-]*:\/\//i, '').replace(/#.*$/, '');
  const at = trimmed.search(/[/?]/);
  const host = at < 0 ? trimmed : trimmed.slice(0, at);
  const rest = at < 0 ? '/' : trimmed.slice(at);
  const mind = rest.indexOf('?');
  return { host, path: mind < 0 ? rest : rest.slice(0, mind) || '/', query: mind < 0 ? '' : rest.slice(mind + 1) };
}

const whole = ({ host, path, query }) => `https://${host || ''}${path || '/'}${query ? `?${query}` : ''}`;

/** A word of a command line, so that a shell takes it as it is. */
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** The same question for a terminal. */
export function command(query) {
  const words = ['tradewind', 'route', whole(Object.fromEntries(['host', 'path', 'query'].map((name) => [name, query.get(name)])))];
  for (const [name, flag] of [['client', '--client'], ['method', '--method'], ['class', '--class'], ['pool', '--pool'], ['tried', '--tried']]) if (query.get(name)) words.push(flag, query.get(name));
  for (const [name, value] of query) if (name.startsWith('header.')) words.push('--header', `${name.slice(7)}: ${value}`);
  return [...words, '--explain'].map(quoted).join(' ');
}

const step = (number, name, note, ...kids) => h('section', { class: 'step', id: name.toLowerCase().replace(' ', '-') },
  h('header', {}, h('span', {}, number), h('h2', {}, name), note && h('p', {}, note)), h('div', {}, kids));

const SOURCES = { caller: 'by the caller', override: 'by the policy', database: 'by the geo file', here: 'where this sidecar is', default: 'the default place', nowhere: 'nobody knows' };

function locate(client) {
  if (!client) return null;
  const { cell_center: centre, cell, country, asn, radius_km: radius, country_only: countryOnly, low_confidence: low } = client;
  const degrees = (value, names) => `${Math.abs(value).toFixed(1)}°${fmt.NB}${value < 0 ? names[1] : names[0]}`;
  return step(1, 'Locate', SOURCES[client.source] || client.source, h('p', {}, h('strong', {}, country || (centre ? 'Country not known' : 'Place not known')), ' ',
    h('span', { class: 'second' }, [centre && `cell ${cell}, centre ${degrees(centre.latitude, 'NS')} ${degrees(centre.longitude, 'EW')}; clients within it are treated alike`, asn ? `operator AS${fmt.NB}${asn}` : '',
      radius > 0 ? `known to ${fmt.km(radius)}` : '', countryOnly ? 'nothing but the country is known' : low ? 'the place is vague' : ''].filter(Boolean).join('; '))));
}

function match({ decision, explanation }, policy) {
  const { rule, unmatched_rules: unmatched = [], when_failures: failures = [] } = explanation;
  const index = policy?.rules?.findIndex((one) => one.name === rule?.name) ?? -1;
  const others = [...unmatched.map((one) => [one.rule, one.why]), ...failures.map((one) => [one.rule, `its condition could not be answered: ${one.why}`])];
  return step(2, 'Match', index < 0 ? null : `rule ${index + 1} of ${policy.rules.length}`,
    rule?.name ? h('p', {}, h('strong', {}, rule.name), ' ', h('span', { class: 'second' }, rule.intent, rule.owner && ` (${rule.owner})`)) : h('p', {}, decision.reason === 'no_rule' ? 'No rule matches.' : 'No rule was asked: the pool was named.'),
    others.length > 0 && h('details', { open: others.length < 3 }, h('summary', {}, `${fmt.counted(others.length, 'rule')} before it did not match`),
      h('ul', { class: 'note' }, others.map(([name, why]) => h('li', {}, h('strong', {}, name), ': ', why)))));
}

const home = (of) => of?.why && h('p', { class: 'note' }, `In an undisturbed fleet ${of.node} at ${of.site} would serve it; it does not because: ${WHY[of.why] || of.why.replaceAll('_', ' ')}${
  of.term ? `, the ${of.term} of its site costs ${fmt.ms(of.term_ms)} more` : ''}${of.since_ms == null ? '' : `, for ${fmt.since(of.since_ms)}`}${of.retry_ms == null ? '' : `; tried again in ${fmt.since(of.retry_ms)}`}.`);

/** Lines as sentences; a line that begins with an id keeps it as it is. */
const prose = (lines) => lines.map((line) => line.trim().replace(/^[a-z]+(?=[ ,])/, (word) => word[0].toUpperCase() + word.slice(1)).replace(/[^.!?]$/, '$&.')).join(' ').replaceAll('`', '');

const racing = (count) => `${fmt.counted(count, 'node')} ${count === 1 ? 'races' : 'race'} by the key’s hash; the first owns it`;

/** What an answer shows: the headline, the sentence, the five steps. */
export function answer(told, { policy, query, kept }) {
  const { decision, explanation } = told;
  const first = decision.candidates?.[0];
  const isRefused = decision.verdict !== 'VERDICT_ROUTE';
  const headline = explanation.headline || (isRefused || !first ? `Refused: ${decision.reason.replaceAll('_', ' ')}.`
    : `${first.node} at ${first.site} serves it${first.expected_ms == null ? '' : `, expected ${fmt.ms(first.expected_ms)}`}.`);
  const scored = bill(told);
  const scope = explanation.spread_ms > 0 ? `the least wins, and those within ${fmt.span(explanation.spread_ms)} share` : 'the least wins';
  const all = (explanation.sites?.length || 0) + (explanation.sites_not_shown || 0);
  return [h('h1', { tabindex: -1, id: 'answer' }, headline), h('p', { class: 'lead', id: 'because' }, explanation.why || prose((explanation.summary || []).filter((line) => line && line !== headline))), kept,
    locate(explanation.client), match(told, policy), scored && step(3, 'Score', `${fmt.counted(all, 'site')} in ms; ${scope}`, scored),
    explanation.nodes?.length > 0 && step(4, 'Rank', racing(explanation.nodes.filter((node) => node.race > 0).length), race(told), home(explanation.home)),
    step(5, 'Fall back', isRefused ? null : 'what the caller tries, in this order', first ? fallback(decision) : h('p', {}, 'Nothing: the request is refused.')),
    h('p', { class: 'foot-of' }, h('span', {}, `snapshot ${fmt.count(decision.snapshot_generation)}, revision ${fmt.count(decision.policy_revision)}`),
      explanation.key_hash && h('span', {}, 'key ', h('span', { class: 'mono' }, explanation.key_hash)), decision.notes?.length > 0 && h('span', {}, decision.notes.map((note) => note.replaceAll('_', ' ')).join(', ')),
      copier('Copy a link to this', () => `${location.origin}/explain?${query}`), query.get('path') && copier('Copy as a terminal command', () => command(query)))];
}

/** A fault at its field; what belongs to none stands below the form. */
export function blame(message) {
  const at = { url: [], client: [], more: [] };
  for (const fault of message.split('; ').filter(Boolean)) at[/^(client|country|asn|lat|lon)\b/.test(fault) ? 'client' : /^(path|host|query|url|a path|the path)\b/i.test(fault) ? 'url' : 'more'].push(fault);
  return at;
}

export function open(main) {
  let asking = 0;
  let policy = null;
  const input = (name, attrs) => h('input', { name, id: `ask-${name}`, autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', ...attrs });
  const field = (label, control) => h('div', { class: 'field' }, h('span', {}, h('label', { for: control.id }, label)), control, h('p', { class: 'fault', id: `${control.id}-fault`, hidden: true }));
  const url = input('url', { required: true, placeholder: 'https://www.example.com/video/1.mp4' });
  const client = input('client', { placeholder: 'an IP address' });
  const extra = MORE.map(([name]) => input(name));
  const fields = h('div', { class: 'more', hidden: true }, MORE.map(([, label], i) => field(label, extra[i])));
  const more = h('button', { type: 'button', 'aria-expanded': 'false', onclick: () => unfold(fields.hidden) }, 'More');
  const ask = h('button', { type: 'submit', class: 'first' }, 'Explain');
  const hint = h('p', { class: 'note', id: 'ask-client-hint', hidden: true });
  const clientField = field('Client address', client);
  clientField.append(hint);
  const form = h('form', { class: 'ask', novalidate: true }, field('URL', url), clientField, more, ask, fields);
  const other = h('p', { class: 'fault', role: 'alert' });
  const recent = h('p', { class: 'recent' });
  const result = h('div', { class: 'result' }, h('h1', { tabindex: -1 }, 'Explain'), h('p', { class: 'lead' }, 'Ask for one request: which node serves it, why, and what would change that.'));
  main.append(form, other, recent, result);

  function unfold(isOpen) {
    fields.hidden = !isOpen;
    more.setAttribute('aria-expanded', isOpen);
    more.textContent = isOpen ? 'Less' : 'More';
  }

  function faults(at) {
    for (const [control, found] of [[url, at.url], [client, at.client]]) {
      const place = document.getElementById(`${control.id}-fault`);
      place.hidden = !found.length;
      place.replaceChildren(...(found.length ? [mark('bad'), h('span', {}, found.join('; '))] : []));
      if (found.length) { control.setAttribute('aria-invalid', 'true'); control.setAttribute('aria-describedby', place.id); }
      else { control.removeAttribute('aria-invalid'); control.removeAttribute('aria-describedby'); }
    }
    other.textContent = at.more.join('; ');
  }

  /** The question that the form is. */
  function asked() {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(split(url.value))) if (value) query.set(name, value);
    if (client.value.trim()) query.set('client', client.value.trim());
    MORE.forEach(([name], i) => {
      const value = extra[i].value.trim();
      if (!value) return;
      if (name !== 'header') { query.set(name, value); return; }
      for (const one of value.split(';')) {
        const [key, ...rest] = one.split(':');
        if (key.trim()) query.set(`header.${key.trim().toLowerCase()}`, rest.join(':').trim());
      }
    });
    return query;
  }

  function write(query) {
    url.value = query.get('path') ? whole({ host: query.get('host'), path: query.get('path'), query: query.get('query') }) : '';
    client.value = query.get('client') || '';
    MORE.forEach(([name], i) => {
      extra[i].value = name === 'header' ? [...query].filter(([key]) => key.startsWith('header.')).map(([key, value]) => `${key.slice(7)}: ${value}`).join('; ') : query.get(name) || '';
    });
    if (extra.some((one) => one.value)) unfold(true);
  }

  async function load(isVisit) {
    const mine = ++asking;
    const query = new URLSearchParams(location.search);
    const id = query.get('id');
    faults({ url: [], client: [], more: [] });
    hint.hidden = true;
    if (!id) write(query);
    if (!id && !query.get('path')) return;
    result.setAttribute('aria-busy', 'true');
    try {
      const passed = new URLSearchParams([...query].filter(([name]) => PASSED.includes(name) || name.startsWith('header.')));
      const [told, rules] = await Promise.all([get(id ? `/debug/decisions/${encodeURIComponent(id)}` : `/debug/explain?${passed}`), policy || get('/debug/policy').catch(() => null)]);
      if (mine !== asking) return;
      policy = rules;
      const question = id ? questionOf(told) : passed;
      if (id) write(question);
      const before = earlier();
      const network = networkOf(id ? told : before);
      hint.hidden = !network;
      hint.textContent = network && `Cut to its network, ${network}: its first address stands for all of it.`;
      result.replaceChildren(...[answer(told, { policy, query: question, kept: id ? asItWas(told, question) : before && compared(before, told) })].flat(9).filter(Boolean));
      main.querySelector('.bill')?.dispatchEvent(new Event('shown'));
      if (isVisit) result.querySelector('h1')?.focus({ preventScroll: true });
    } catch (error) {
      if (mine === asking) faults(error.status === 400 ? blame(error.message) : { url: [], client: [], more: [error.message] });
    }
    if (mine === asking) result.removeAttribute('aria-busy');
  }

  /** The question of a kept decision. Its client is masked to a network: its first address stands for it. */
  function questionOf({ request = {} }) {
    const query = new URLSearchParams();
    for (const [name, value] of [['host', request.host], ['path', request.path], ['query', request.query], ['client', request.client?.ip], ['method', request.method], ['class', request.class], ['pool', request.pool]]) if (value) query.set(name, value);
    return query;
  }

  /** The network that the client of a kept decision is cut to; empty where it had no address. */
  function networkOf(told) {
    const ip = told?.request?.client?.ip;
    return ip ? `${ip}${ip.includes(':') ? '/48' : '/24'}` : '';
  }

  let kept = null;
  const earlier = () => { const it = kept; kept = null; return it; };

  /** How an attempt of a kept decision went. */
  const went = ({ node, attempt, result, status, first_byte_ms: first }) =>
    `${attempt ? `attempt ${attempt}, ` : ''}${node}: ${status ?? ''}${result === 'ok' && status ? '' : ` ${result}`}${first == null ? '' : ` after ${fmt.ms(first)}`}`.replace(':  ', ': ');

  const asItWas = (told, question) => h('div', { class: 'kept' }, told.attempts && h('p', {}, `What came of it, as told: ${told.attempts.map(went).join('; ')}.`), h('p', {}, `As it was at ${fmt.time(told.at_unix_ms)} UTC. `, h('button', { type: 'button', onclick: () => {
    kept = told;
    document.dispatchEvent(new CustomEvent('console:go', { detail: `/explain?${question}` }));
  } }, 'Ask again now')));

  /** What differs from a kept decision, in words. */
  function compared(before, after) {
    const [a, b] = [before.decision, after.decision];
    const say = (decision) => decision.candidates?.[0] ? `${decision.candidates[0].node} at ${decision.candidates[0].site}, ${fmt.ms(decision.candidates[0].expected_ms)}` : 'refused';
    const isSame = a.candidates?.[0]?.node === b.candidates?.[0]?.node;
    return h('div', { class: `notice ${isSame ? 'well' : 'warn'} kept` }, mark(isSame ? 'well' : 'warn'), h('p', { class: 'words' }, h('strong', {}, isSame ? 'The same node as then. ' : 'Another node than then. '),
      `At ${fmt.time(before.at_unix_ms)}: ${say(a)}; now: ${say(b)}.${a.rule === b.rule ? '' : ` Rule ${a.rule} then, ${b.rule} now.`}${
        networkOf(before) ? ` Asked now for the first address of ${networkOf(before)}: no more is kept of who asked then, who may be placed elsewhere.` : ''}`));
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (store.lostSince) return;
    if (!url.value.trim()) { faults({ url: ['a URL is missing'], client: [], more: [] }); url.focus(); return; }
    const to = `/explain?${asked()}`;
    if (to === location.pathname + location.search) load(true);
    else document.dispatchEvent(new CustomEvent('console:go', { detail: to }));
  });

  async function suggest() {
    const got = await get('/debug/decisions?limit=4').catch(() => null);
    if (got?.decisions.length) recent.replaceChildren('Lately decided: ', ...got.decisions.map((one) => h('a', { href: `/explain?id=${encodeURIComponent(one.id)}`, class: 'mono', title: one.host }, one.path.length > 40 ? `${one.path.slice(0, 40)}…` : one.path)));
  }

  function lost() {
    ask.disabled = Boolean(store.lostSince);
    ask.title = store.lostSince ? 'The sidecar does not answer, so nothing can be asked' : '';
  }

  load(false);
  if (!location.search) { suggest(); url.focus({ preventScroll: true }); }
  return { topics, revisit: () => load(true), update(topic) { if (topic === 'link' || topic === 'restart') lost(); }, close() { asking += 1; } };
}
