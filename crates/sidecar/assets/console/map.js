// Map: where sites are and how they fare, the field of all nodes in large fleets, the table that says the same, and one
// site opened.

import { h, s, mark, region } from './dom.js';
import * as fmt from './fmt.js';
import { store, get, now } from './store.js';
import { worse } from './derive.js';
import { atlas, VIEWS, FEW } from './atlas.js';
import { panel } from './site.js';

export const topics = ['state'];
const FIRST = 20;
const PAGE = 50;
const OPEN_EACH_MS = 2000;
const FLOWS_EACH_MS = 15000;
const SQUARE = { size: 7, pitch: 9 };

const sorts = {
  site: ['Site', '', (a, b) => a.id.localeCompare(b.id)],
  state: ['State', '', (a, b) => worse(a.mark, b.mark) || (b.rate || 0) - (a.rate || 0)],
  load: ['Load', 'n', (a, b) => (b.utilisation ?? -1) - (a.utilisation ?? -1)],
  hits: ['Hits', 'n', (a, b) => (b.hit_ratio ?? -1) - (a.hit_ratio ?? -1)],
  requests: ['Requests', 'n', (a, b) => (b.rate ?? -1) - (a.rate ?? -1)],
};

/** The address of this view with something changed. */
function link(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value == null) query.delete(name);
    else query.set(name, value);
  }
  return `/map${query.size ? `?${query}` : ''}`;
}

/** Rows out of columns. */
export const rows = (columns) => (columns?.id || []).map((_, i) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[i]])));

export function open(main) {
  let query = new URLSearchParams();
  let chosen = null;
  let flows = [];
  let flowsAt = 0;
  let detail = null;
  let detailAt = 0;
  let wanted = '';
  let most = FIRST;
  let focused = null;
  const views = h('div', { class: 'segments', role: 'group', 'aria-label': 'Region' });
  const tiers = h('div', { class: 'segments', role: 'group', 'aria-label': 'Tier' });
  const options = h('datalist', { id: 'known' });
  const find = h('input', { id: 'find', type: 'search', list: 'known', placeholder: 'Find a site or node', 'aria-label': 'Find a site or node', autocomplete: 'off' });
  const form = h('form', { class: 'find', role: 'search', 'aria-label': 'Find' }, find, options);
  const map = h('div', { class: 'map' });
  const legend = h('p', { class: 'legend' });
  const field = h('section', { class: 'field', hidden: true });
  const table = h('section', { class: 'sites' });
  const tableHead = h('div', { class: 'head' });
  const tableBody = h('div', {});
  const opened = h('aside', { class: 'panel', 'aria-label': 'The site', hidden: true });
  table.append(tableHead, tableBody);
  main.append(h('h1', { class: 'unseen', tabindex: -1 }, 'Map'), h('div', { class: 'bar' }, views, tiers, form), h('div', { class: 'mapgrid' }, h('div', { class: 'left' }, map, legend, field), opened, table));

  const current = () => {
    const view = query.get('view');
    const box = query.get('box')?.split(',').map(Number);
    if (box?.length === 4 && box.every(Number.isFinite) && box[0] < box[2] && box[1] < box[3]) return { box };
    return { name: VIEWS[view] ? view : 'World', box: VIEWS[view] || VIEWS.World };
  };

  function all() {
    const { state } = store;
    const wantedTier = Math.max(0, state.tiers.indexOf(query.get('tier')));
    const tier = query.has('tier') ? wantedTier : 0;
    return { tier, sites: rows(state.sites).filter((site) => site.tier === tier) };
  }

  function drawMap(sites) {
    const width = Math.floor(map.clientWidth);
    if (!width) return;
    const { box, name } = current();
    const seen = sites.map(({ id, city, latitude, longitude, mark: kind, words, in_use: use, out, not_well: unwell, tried, growing, drained, rate }) =>
      ({ id, city, latitude, longitude, mark: kind, words, in_use: use, out, not_well: unwell, tried: tried + growing, drained, rate: rate == null ? 0 : Number(rate.toPrecision(2)) }));
    region(map, { seen, flows: flows.length, at: flowsAt, box, width, chosen }, () => {
      const { svg, links } = atlas({ sites: seen, flows, box, isWorld: name === 'World', width, chosen, nearer: (to) => link(to.box ? { box: to.box.join(','), view: null } : to) });
      const start = links.find((one) => one.dataset.key === focused) || links[0];
      start?.setAttribute('tabindex', 0);
      svg.addEventListener('keydown', (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const at = links.indexOf(document.activeElement);
        if (!step || at < 0) return;
        event.preventDefault();
        const next = links[(at + step + links.length) % links.length];
        links[at].setAttribute('tabindex', -1);
        next.setAttribute('tabindex', 0);
        focused = next.dataset.key;
        next.focus();
      });
      svg.addEventListener('focusin', (event) => { focused = event.target.dataset.key; });
      return svg;
    });
  }

  const drawLegend = (isFew) => legend.replaceChildren(...[['well', 'all in use'], ['warn', 'some not well'], ['bad', 'some left out'], ['drained', 'drained']].map(([kind, words]) => h('span', {}, mark(kind), words)),
    h('span', {}, isFew ? 'size: requests; ring: share of nodes; lines: where clients are' : 'size: requests; ring: share of nodes or sites'));

  /** All nodes of a large fleet as squares: four paths, because three thousand elements would be slow. */
  function drawField(sites, tier) {
    const isMany = sites.length > FEW;
    field.hidden = !isMany;
    if (!isMany) return;
    const { nodes, sites: columns } = store.state;
    const order = columns.id.map((_, i) => i).filter((i) => columns.tier[i] === tier).sort((a, b) => columns.longitude[a] - columns.longitude[b]);
    const rank = new Map(order.map((site, i) => [site, i]));
    const shown = nodes.id.map((_, i) => i).filter((i) => rank.has(nodes.site[i])).sort((a, b) => rank.get(nodes.site[a]) - rank.get(nodes.site[b]));
    const width = Math.floor(map.clientWidth);
    const across = Math.max(1, Math.floor(width / SQUARE.pitch));
    region(field, { marks: shown.map((i) => nodes.mark[i][0]).join(''), width, tier }, () => {
      const paths = { well: '', warn: '', bad: '', drained: '' };
      shown.forEach((node, i) => {
        const kind = nodes.mark[node] in paths ? nodes.mark[node] : nodes.mark[node] === 'unknown' ? 'drained' : 'warn';
        paths[kind] += `M${(i % across) * SQUARE.pitch} ${Math.floor(i / across) * SQUARE.pitch}h${SQUARE.size}v${SQUARE.size}h-${SQUARE.size}z`;
      });
      const height = Math.ceil(shown.length / across) * SQUARE.pitch;
      const count = (kind) => shown.filter((i) => nodes.mark[i] === kind).length;
      const svg = s('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `${fmt.counted(count('bad'), 'node')} out, ${count('warn')} not well, ${count('drained')} drained; the table has their sites` },
        Object.entries(paths).map(([kind, d]) => s('path', { class: `square ${kind}`, d })));
      const which = (event) => {
        const at = svg.getBoundingClientRect();
        const [column, line] = [Math.floor((event.clientX - at.left) / SQUARE.pitch), Math.floor((event.clientY - at.top) / SQUARE.pitch)];
        return column < across ? shown[line * across + column] : undefined;
      };
      const name = h('span', { class: 'note' }, 'a square each, by site from west to east');
      svg.addEventListener('pointermove', (event) => { const i = which(event); if (i !== undefined) name.textContent = `${nodes.id[i]}, ${nodes.words[i]}`; });
      svg.addEventListener('click', (event) => { const i = which(event); if (i !== undefined) go(link({ site: columns.id[nodes.site[i]] })); });
      return [h('div', { class: 'head' }, h('h2', {}, fmt.counted(shown.length, 'node')), name), svg];
    });
  }

  const go = (to) => document.dispatchEvent(new CustomEvent('console:go', { detail: to }));

  function drawTable(sites) {
    const by = sorts[query.get('sort')] ? query.get('sort') : 'state';
    const sign = query.get('down') ? -1 : 1;
    const sorted = [...sites].sort((a, b) => sign * sorts[by][2](a, b) || worse(a.mark, b.mark));
    const look = sites.filter((site) => site.mark !== 'well' && site.mark !== 'drained').length;
    region(tableHead, [sites.length, look], () => [h('h2', {}, 'Sites'), h('span', { class: 'note' }, look ? `${fmt.count(look)} of ${fmt.count(sites.length)} need a look; worst first` : sites.length ? `all ${fmt.count(sites.length)} are well` : 'none of this tier')]);
    const shown = sorted.slice(0, most).map(({ id, mark: kind, words, utilisation, hit_ratio: hits, rate }) => [id, kind, words, fmt.share(utilisation), fmt.share(hits), fmt.rate(rate)]);
    region(tableBody, { shown, by, sign, all: sites.length, chosen, at: location.search }, () => [h('table', {}, h('thead', {}, h('tr', {}, Object.entries(sorts).map(([key, [name, kind]]) =>
      h('th', { scope: 'col', class: kind, 'aria-sort': key === by ? (sign > 0 ? 'ascending' : 'descending') : null },
        h('a', { href: link({ sort: key, down: key === by && sign > 0 ? 1 : null }), 'data-key': `sort ${key}` }, name))))),
    h('tbody', {}, shown.map(([id, kind, words, load, hits, rate]) => h('tr', { class: id === chosen ? 'chosen' : null },
      h('th', { scope: 'row' }, mark(kind), h('a', { href: link({ site: id, node: null }), 'data-key': `row ${id}` }, id)), h('td', { class: 'second' }, words), h('td', { class: 'n' }, load), h('td', { class: 'n' }, hits), h('td', { class: 'n' }, rate))))),
    sites.length > shown.length && h('p', {}, h('button', { class: 'link', type: 'button', 'data-key': 'more', onclick: () => { most += sites.length > FEW ? PAGE : sites.length; draw(); } },
      sites.length > FEW ? `Show ${Math.min(PAGE, sites.length - shown.length)} more of ${fmt.count(sites.length)}` : `Show all ${fmt.count(sites.length)}`))]);
  }

  function drawPanel() {
    opened.hidden = !chosen;
    main.classList.toggle('opened', Boolean(chosen));
    if (!chosen) return;
    const ready = detail?.id === chosen ? detail : { id: chosen, nodes: [] };
    const { at, ...rest } = ready;
    region(opened, { rest, wanted, roles: store.sidecar?.roles }, () => panel({ ...ready, row: rows(store.state?.sites).find((one) => one.id === chosen) }, { wanted, choose: (value) => { wanted = value; drawPanel(); }, done: load, close: link({ site: null, node: null }) }));
  }

  function draw() {
    const { state } = store;
    if (!state) return;
    const { tier, sites } = all();
    const { name } = current();
    region(views, [name, location.search], () => Object.keys(VIEWS).map((view) => h('button', { type: 'button', 'data-key': view, 'aria-pressed': String(view === name), onclick: () => go(link({ view: view === 'World' ? null : view, box: null })) }, view)));
    region(tiers, [state.tiers, tier, location.search, state.sites.tier.length], () => state.tiers.map((of, i) => {
      const count = state.sites.tier.filter((one) => one === i).length;
      return (count > 0 || i === tier) && h('button', { type: 'button', 'data-key': of, 'aria-pressed': String(i === tier), onclick: () => go(link({ tier: i ? of : null })) }, of, ' ', h('span', { class: 'mono' }, fmt.count(count)));
    }));
    main.classList.toggle('many', sites.length > FEW);
    drawPanel();
    drawMap(sites);
    region(legend, [sites.length > FEW], () => { drawLegend(sites.length <= FEW); return [...legend.childNodes]; });
    drawField(sites, tier);
    drawTable(sites);
  }

  async function load() {
    if (!chosen) return;
    const asked = chosen;
    detailAt = now();
    const [of, nodes] = await Promise.all([get(`/debug/sites?site=${encodeURIComponent(asked)}`), get(`/debug/nodes?site=${encodeURIComponent(asked)}`)]).catch(() => []);
    if (!of || asked !== chosen) return;
    detail = { id: asked, site: of.sites.find((site) => site.id === asked), nodes: nodes.nodes, at: now() };
    const isFirst = !opened.querySelector('.node');
    drawPanel();
    if (isFirst && query.get('node')) opened.querySelector(`#${CSS.escape(`node-${query.get('node')}`)}`)?.scrollIntoView({ block: 'nearest' });
  }

  async function loadFlows() {
    flowsAt = now();
    const got = await get('/debug/flows').catch(() => null);
    if (got) flows = got.flows;
    draw();
  }

  /** Takes the view out of the address bar. */
  function read(isVisit) {
    query = new URLSearchParams(location.search);
    const node = query.get('node');
    const { state } = store;
    let site = query.get('site');
    if (!site && node && state) site = state.sites.id[state.nodes.site[state.nodes.id.indexOf(node)]];
    const before = chosen;
    chosen = site && (!state || state.sites.id.includes(site)) ? site : null;
    if (chosen && state && !query.has('tier')) {
      const tier = state.sites.tier[state.sites.id.indexOf(chosen)];
      if (tier > 0) query.set('tier', state.tiers[tier]);
    }
    if (before !== chosen) detail = null;
    draw();
    if (chosen && before !== chosen) load();
    if (!isVisit || before === chosen) return;
    // Opening goes to its heading; closing back to where it was opened.
    if (chosen) opened.querySelector('#site-head')?.focus();
    else (main.querySelector(`.disc[data-key="${CSS.escape(before)}"]`) || main.querySelector(`[data-key="${CSS.escape(`row ${before}`)}"]`))?.focus();
  }

  find.addEventListener('focus', () => {
    if (!store.state || options.childElementCount) return;
    // All sites, and the nodes as far as a list can bear them; what is typed finds any.
    options.append(...[...store.state.sites.id, ...store.state.nodes.id.slice(0, 200)].map((value) => h('option', { value })));
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const { sites, nodes } = store.state || {};
    const text = find.value.trim().toLowerCase();
    if (!sites || !text) return;
    const pick = (columns) => columns.id.find((id) => id.toLowerCase() === text) || columns.id.find((id) => id.toLowerCase().startsWith(text));
    const city = sites.city.findIndex((name) => name?.toLowerCase().startsWith(text));
    const site = sites.id.find((id) => id.toLowerCase() === text);
    const node = !site && nodes.id.find((id) => id.toLowerCase() === text);
    const found = site || (!node && (pick(sites) || sites.id[city]));
    const other = node || (!found && pick(nodes));
    find.setCustomValidity(found || other ? '' : `No site or node begins with ${text}`);
    if (!find.reportValidity()) return;
    go(link(other ? { node: other, site: null } : { site: found, node: null }));
  });
  find.addEventListener('input', () => find.setCustomValidity(''));
  main.addEventListener('keydown', escape);
  function escape(event) {
    if (event.key === 'Escape' && chosen && !event.target.closest('input, dialog')) go(link({ site: null, node: null }));
  }
  let frame = 0;
  const sized = new ResizeObserver(() => { cancelAnimationFrame(frame); frame = requestAnimationFrame(draw); });
  sized.observe(map);

  read(false);
  loadFlows();
  if (store.state) draw();
  else get('/debug/state').then((got) => { store.state ||= got; read(false); }).catch((error) => { map.replaceChildren(h('p', { class: 'note' }, error.message)); });
  return {
    topics,
    revisit: () => read(true),
    update(topic) {
      if (topic === 'state') { if ((query.has('node') || query.has('site')) && !chosen) read(false); else draw(); }
      if (topic === 'clock' && chosen && now() - detailAt > OPEN_EACH_MS) load();
      if (topic === 'clock' && now() - flowsAt > FLOWS_EACH_MS) loadFlows();
      if (topic === 'restart') loadFlows();
    },
    close() { sized.disconnect(); main.removeEventListener('keydown', escape); main.classList.remove('opened', 'many'); },
  };
}
