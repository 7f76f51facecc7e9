// The start: which page is at this path, what it needs of the stream, and how one gets to the next.

import { h } from './dom.js';
import { store, listen, begin, follow, get } from './store.js';
import * as frame from './frame.js';

const MODULES = { '/': 'overview', '/map': 'map', '/explain': 'explain', '/policy': 'policy', '/live': 'live', '/states': 'states' };
const main = document.getElementById('main');

let page = null;
let path = null;
let visit = 0;

// Overview, which is the first view, needs no rules of the other pages.
let style = null;
const styled = () => (style ||= new Promise((done) => {
  document.head.append(h('link', { rel: 'stylesheet', href: '/console/pages.css', onload: done, onerror: done }));
}));

/** Shows the page of the address bar. */
async function show(isFirst) {
  const mine = ++visit;
  const wanted = MODULES[location.pathname] ? location.pathname : '/';
  if (page && wanted === path && page.revisit) return page.revisit();
  page?.close?.();
  page = null;
  path = wanted;
  frame.arrive(path);
  if (path !== '/') await styled();
  const module = await import(`./${MODULES[path]}.js`);
  if (mine !== visit) return;
  const name = frame.PAGES.find(([to]) => to === path)?.[1] || 'States';
  document.title = `${name} · Tradewind`;
  main.className = MODULES[path];
  main.replaceChildren();
  page = module.open(main);
  follow(['overview', ...(page.topics || [])]);
  frame.update(path);
  const wantedPart = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
  wantedPart?.scrollIntoView();
  if (!wantedPart && !isFirst) scrollTo(0, 0);
  // Who went to a field wants to write into it.
  if (wantedPart?.matches('input')) wantedPart.focus();
  else if (!isFirst) (main.querySelector('h1') ?? main).focus({ preventScroll: true });
}

/** Goes to a path of these pages without loading the shell again. */
export function go(to, replace) {
  history[replace ? 'replaceState' : 'pushState'](null, '', to);
  return show(false);
}

document.addEventListener('click', (event) => {
  const anchor = event.target.closest?.('a[href]');
  if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || anchor.getAttribute('target')) return;
  // By the attribute: in a drawing `href` is no text.
  const to = new URL(anchor.getAttribute('href'), location.href);
  if (to.origin !== location.origin || !MODULES[to.pathname] || anchor.getAttribute('href').startsWith('#')) return;
  event.preventDefault();
  go(to.pathname + to.search + to.hash);
});
addEventListener('popstate', () => show(false));
document.addEventListener('console:go', (event) => go(event.detail));

frame.frame();
frame.keys(go);
frame.link();

let second = 0;
listen((topic, data) => {
  if (topic === 'tick') {
    // Four ticks a second notice silence early; what is written changes once a second, so that nothing flickers.
    if (++second % 4 && !store.lostSince) return;
    frame.ticking();
    return frame.link();
  }
  if (topic === 'link' || topic === 'restart') frame.link();
  if (topic === 'overview') frame.update(path);
  page?.update?.(topic, data);
});

// What deciding takes, and what this viewer may do, change rarely: they are no topic of the stream.
setInterval(async () => {
  if (document.hidden || store.lostSince) return;
  store.sidecar = await get('/debug/sidecar').catch(() => store.sidecar);
}, 15000);

const shown = show(true);
try {
  await begin();
} catch (error) {
  if (!error.isAnswer) store.lostSince = store.lastHeard || Date.now();
  main.prepend(h('p', { class: 'fault' }, error.message));
  frame.link();
}
await shown;
