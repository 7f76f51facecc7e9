// What stands around every page: header, strip of the four answers, notices, foot, keys, and the bar of a lost sidecar.

import { h, s, mark, region } from './dom.js';
import * as fmt from './fmt.js';
import { store, now, ask } from './store.js';

export const PAGES = [['/', 'Overview'], ['/map', 'Map'], ['/explain', 'Explain'], ['/policy', 'Policy'], ['/live', 'Live']];
const SHORT = { up: 'Up', slow: 'Slow', failing: 'Failing', changed: 'Changed' };
// Screen readers hear of a change once it has stood this long; more often would be chatter.
const SAY_EACH_MS = 10000;

const $ = (id) => document.getElementById(id);

/** A time that goes on by itself: how long ago `t0` was. */
export const ago = (t0) => h('time', { 'data-t0': t0, title: fmt.date(t0) }, fmt.since(now() - t0));

/** Parts of a sentence, with nodes and sites as links. */
export const sentence = (parts) => (parts || []).map((part) => {
  const to = part.node ? `/map?node=${encodeURIComponent(part.node)}` : part.site ? `/map?site=${encodeURIComponent(part.site)}` : null;
  return to ? h('a', { href: to, class: 'quiet' }, part.text) : part.text;
});

/** Words with `code` in backticks. */
export const ticked = (text) => (text || '').split('`').map((part, i) => (i % 2 ? h('code', {}, part) : part));

/** A line of words across the page, with at most one action. */
export const notice = (kind, strong, words, action, attrs) => h('div', { class: `notice ${kind}`, ...attrs }, mark(kind === 'idle' ? 'unknown' : kind),
  h('div', { class: 'words' }, h('strong', {}, strong), ' ', words), action);

/** A button that copies, and says so. */
export function copier(label, text) {
  const button = h('button', { class: 'link', type: 'button' }, label);
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = 'copied';
    } catch {
      // Without a secure context there is no clipboard: then the text is shown, to be copied by hand.
      button.replaceWith(h('input', { class: 'mono', value: text(), readonly: true, 'aria-label': label }));
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
  return button;
}

// The theme that was chosen; without one the system decides.
const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private windows keep nothing */ } };

function toggleTheme() {
  const isDark = getComputedStyle(document.documentElement).colorScheme === 'dark'
    || (!document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = isDark ? 'light' : 'dark';
  keep('theme', document.documentElement.dataset.theme);
}

/** Builds the header once. */
export function frame() {
  if (kept('theme')) document.documentElement.dataset.theme = kept('theme');
  // A wind barb of 15 knots, as weather charts draw it.
  const barb = s('svg', { viewBox: '0 0 20 20', width: 20, height: 20, class: 'barb', 'aria-hidden': 'true' },
    s('path', { d: 'M2.5 17.5 15 5M15 5l.6-4.2M12 8l4.4-1M9.2 10.800 13.500 9.700M15 5l4-.7' }));
  const half = s('svg', { viewBox: '0 0 16 16', width: 16, height: 16, 'aria-hidden': 'true' },
    s('circle', { cx: 8, cy: 8, r: 6, class: 'half' }), s('path', { d: 'M8 2a6 6 0 0 1 0 12z' }));
  $('head').append(
    h('a', { href: '/', class: 'brand' }, barb, 'Tradewind'),
    h('nav', { id: 'tabs', 'aria-label': 'Pages' }, PAGES.map(([path, name]) => h('a', { href: path }, name))),
    h('span', { id: 'who', class: 'mono' }), h('span', { id: 'link' }),
    h('button', { id: 'theme', type: 'button', 'aria-label': 'Light or dark', title: 'Light or dark', onclick: toggleTheme }, half));
}

/** Marks the page that is shown. */
export function arrive(path) {
  for (const tab of $('tabs').children) {
    const isHere = tab.getAttribute('href') === path;
    if (isHere) tab.setAttribute('aria-current', 'page');
    else tab.removeAttribute('aria-current');
    // On a phone the tabs may not all be in view.
    if (isHere) $('tabs').scrollLeft = tab.offsetLeft - 24;
  }
  $('strip').hidden = path === '/' || path === '/states';
}

let said = { words: '', at: 0, seen: null };

function say(overview) {
  const words = overview.answers.map((answer) => `${answer.question} ${answer.answer}`).join(' ');
  if (said.seen === null) said.seen = words;
  if (words === said.seen || performance.now() - said.at < SAY_EACH_MS) return;
  const before = said.seen;
  said = { seen: words, at: performance.now() };
  $('said').textContent = overview.answers.filter((answer) => !before.includes(`${answer.question} ${answer.answer}`))
    .map((answer) => `${answer.question} ${answer.answer}`).join(' ');
}

/** All that is said of a need, as sentences. */
const whole = ({ why, becomes, back }) => [why, becomes, back && `${back[0].toUpperCase()}${back.slice(1)}.`].filter(Boolean).join(' ');

/** What concerns the whole page. A refused file is no such thing: the one before serves on. */
function notices({ ready, headline, line, needs, path }) {
  const made = [];
  if (!ready && path !== '/') made.push(notice('bad', headline, line));
  for (const need of needs) {
    if (need.kind === 'sidecar') made.push(notice(need.mark === 'bad' ? 'bad' : 'warn', `${need.name}: ${need.state}.`, whole(need)));
    if (need.kind === 'topology' && need.held) made.push(notice('warn', `${need.name}: ${need.state}.`, whole(need)));
  }
  return made;
}

/** Shows what the store holds around the page. */
export function update(path) {
  const { sidecar, overview } = store;
  if (sidecar) {
    const { id, version, commit, started_unix_ms: started, decide_p50_us: p50, decide_p99_us: p99 } = sidecar;
    $('who').textContent = id;
    region($('foot'), [id, version, commit, started, p50, p99], () => [h('span', { class: 'mono' }, id),
      h('span', { title: commit }, `tradewind ${version}`), h('span', {}, 'up ', ago(started)),
      h('span', {}, p50 == null ? 'deciding: not measured yet' : `deciding: p50 under ${fmt.us(p50)}, p99 under ${fmt.us(p99)}`),
      h('span', {}, 'as of ', h('span', { id: 'asof' }), ' UTC'), h('a', { href: '/states' }, 'States'), helpButton()]);
  }
  if (!overview) return;
  const asOf = $('asof');
  if (asOf && !store.lostSince) asOf.textContent = fmt.time(overview.now_unix_ms);
  region($('strip'), overview.answers.map(({ key, mark: kind, short, answer }) => [key, kind, short || answer]), (rows) => rows.map(([key, kind, short]) =>
    h('a', { href: `/#${key}`, title: short }, mark(kind), h('span', {}, h('strong', {}, SHORT[key]), ' ', short))));
  const held = overview.in_force?.topology?.held;
  const { ready, headline, line } = overview;
  const needs = overview.needs.filter((need) => need.kind === 'sidecar' || (need.kind === 'topology' && held)).map((need) => ({ ...need, held }));
  region($('notices'), { ready, headline: ready ? '' : headline, line: ready ? '' : line, needs, path }, notices);
  say(overview);
}

const helpButton = () => h('button', { class: 'link', type: 'button', 'data-key': 'help', onclick: help }, 'Keys');

/** Whether the sidecar answers: the header says so at all times, and a bar when it does not. */
export function link() {
  const lost = store.lostSince;
  document.documentElement.classList.toggle('lost', Boolean(lost));
  const silent = Math.max(0, now() - store.lastHeard);
  const restarted = store.restartedAt && now() - store.restartedAt < 30000 ? store.restartedAt : 0;
  region($('link'), lost ? 'lost' : restarted || 'live', () => (lost ? [mark('bad'), h('span', {}, 'no answer')]
    : [mark('well'), restarted ? h('span', {}, 'restarted ', ago(restarted), ' ago') : h('span', {}, 'live', h('span', { id: 'age' }))]));
  const age = $('age');
  if (age) age.textContent = store.lastHeard ? `, ${(Math.min(silent, 9900) / 1000).toFixed(1)}${fmt.NB}s` : '';
  const id = store.sidecar?.id || 'the sidecar';
  region($('lost'), lost ? [lost, id] : null, () => (lost ? h('div', { role: 'alert', class: 'alert' }, mark('bad'),
    h('p', {}, h('strong', {}, `No answer from ${id} for `, ago(lost), '. '), `What you see is of ${fmt.time(lost)}. `,
      h('span', { id: 'again', 'aria-hidden': 'true' })),
    h('button', { type: 'button', onclick: ask }, 'Try now')) : null));
  const again = $('again');
  const left = Math.ceil((store.retryAt - Date.now()) / 1000);
  if (again) again.textContent = left > 0 ? `Trying again in ${left}${fmt.NB}s.` : 'Trying again now.';
}

/** Lets times go on, whatever else happens. */
export function ticking() {
  for (const time of document.querySelectorAll('[data-t0]')) {
    const text = fmt.since(now() - Number(time.dataset.t0));
    if (time.textContent !== text) time.textContent = text;
  }
}

const HELP = [['1 to 5', 'the pages'], ['/', 'find, or the first field'], ['arrows', 'on the map and the log'], ['Enter', 'open, ask'], ['Esc', 'close'], ['?', 'this list']];

function help() {
  const box = h('input', { type: 'checkbox', id: 'keys-on', checked: kept('keys') !== 'off' });
  box.addEventListener('change', () => keep('keys', box.checked ? 'on' : 'off'));
  const dialog = h('dialog', { 'aria-labelledby': 'help-head' }, h('h2', { id: 'help-head' }, 'Keys'),
    h('dl', {}, HELP.map(([key, what]) => h('div', {}, h('dt', {}, h('kbd', {}, key)), h('dd', {}, what)))),
    h('p', {}, h('label', {}, box, ' Single keys act'), '; without it only Tab, Enter, Esc and arrows do.'),
    h('form', { method: 'dialog' }, h('button', {}, 'Close')));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** Single keys, unless something is being written or they are turned off. */
export function keys(go) {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest('input, textarea, select, dialog') || kept('keys') === 'off') return;
    const page = PAGES[Number(event.key) - 1];
    if (page) go(page[0]);
    else if (event.key === '?') help();
    else if (event.key === '/') {
      const field = document.querySelector('main input');
      // The stroke itself is not to be written into the field.
      event.preventDefault();
      if (!field) return go('/map#find');
      field.focus();
    }
  });
}
