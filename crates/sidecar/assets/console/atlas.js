// The drawing of the map: Miller projection, discs that join where they would overlap, labels without overlap, an inset
// for the densest region, and lines from clients to sites.

import { s, shape } from './dom.js';
import * as fmt from './fmt.js';
import { LAND } from './land.js';
import { worse } from './derive.js';

const UNITS = 5;
const [NORTH, SOUTH] = [73, -57];
export const VIEWS = { World: [-180, SOUTH, 180, NORTH], Europe: [-14, 34, 36, 64], Americas: [-135, SOUTH, -30, 62], Asia: [50, -48, 180, 55] };
/** Up to so many sites every one has a disc and its clients have lines. */
export const FEW = 60;
const RADIUS = { least: 6, most: 15 };
// Whether discs join goes by where they are and not by how large traffic makes them: else they would part and join each second.
const REACH = (RADIUS.least + RADIUS.most) / 2;
// Few discs may touch, as cities do on a chart; many join as soon as they would.
const TOUCH_FEW = 0.5;
const TOUCH_MANY = 1;
// Beyond this many px a degree nothing comes apart any more: what stands at one point is fanned out instead.
const NEAREST = 60;
const INSET = { least: 4, width: 44, height: 28, room: 640 };
const LETTER = 8.2;

const miller = (latitude) => (180 / Math.PI) * 1.25 * Math.log(Math.tan(Math.PI / 4 + 0.4 * (Math.min(85, Math.max(-85, latitude)) * Math.PI) / 180));
const round = (value) => Math.round(value * 10) / 10;

/** How a box of degrees fills `width` px; `height` follows, within `bounds`. */
function projection([west, south, east, north], width, bounds) {
  const k = Math.min(width / (east - west), bounds ? bounds.most / (miller(north) - miller(south)) : Infinity);
  const height = Math.round(Math.max(bounds?.least || 0, (miller(north) - miller(south)) * k));
  const left = (west + east) / 2 - width / k / 2;
  const top = (miller(north) + miller(south)) / 2 + height / k / 2;
  return { k, width, height, x: (longitude) => (longitude - left) * k, y: (latitude) => (top - miller(latitude)) * k,
    land: `translate(${round((-180 - left) * k)} ${round((top - miller(NORTH)) * k)}) scale(${k / UNITS})`, left, right: left + width / k };
}

/** Joins discs that are nearer to each other than `touch` allows, in the order of their ids. */
function join(discs, touch, isNearest) {
  const all = discs.map((disc) => ({ ...disc, reach: REACH, members: [disc] })).sort((a, b) => (a.id < b.id ? -1 : 1));
  for (let found = !isNearest; found;) {
    found = false;
    for (let i = 0; i < all.length && !found; i += 1) for (let j = i + 1; j < all.length; j += 1) {
      const [a, b] = [all[i], all[j]];
      if (Math.hypot(a.x - b.x, a.y - b.y) >= touch * (a.reach + b.reach)) continue;
      const members = [...a.members, ...b.members];
      const [wa, wb] = [a.members.length, b.members.length];
      const r = Math.min(18, 9 + 2.2 * Math.sqrt(members.length));
      all[i] = { x: (a.x * wa + b.x * wb) / (wa + wb), y: (a.y * wa + b.y * wb) / (wa + wb), r, reach: r, members };
      all.splice(j, 1);
      found = true;
      break;
    }
  }
  if (isNearest) fan(all);
  return all;
}

/** Discs at one point are set around it. */
function fan(discs) {
  const points = Map.groupBy(discs, (disc) => `${Math.round(disc.x / 8)} ${Math.round(disc.y / 8)}`);
  for (const group of points.values()) if (group.length > 1) group.forEach((disc, i) => {
    disc.x += Math.cos((i / group.length) * 2 * Math.PI) * (20 + group.length * 4);
    disc.y += Math.sin((i / group.length) * 2 * Math.PI) * (20 + group.length * 4);
  });
}

/** A name at the first side of its disc where it meets nothing; none if there is no such side. */
function labels(discs, width, height, chosen) {
  const badges = discs.filter(({ mark }) => !['well', 'drained'].includes(mark)).map(({ x, y, r }) => [x + 0.75 * r - 8, y - 0.75 * r - 8, x + 0.75 * r + 8, y - 0.75 * r + 8]);
  const taken = [...discs.map(({ x, y, r }) => [x - r, y - r, x + r, y + r]), ...badges];
  const free = (box) => box[0] >= 2 && box[1] >= 2 && box[2] <= width - 2 && box[3] <= height - 2
    && !taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]);
  const has = (disc) => disc.members.some((site) => site.id === chosen);
  const order = [...discs].sort((a, b) => has(b) - has(a) || worse(a.mark, b.mark) || b.rate - a.rate);
  for (const disc of order) {
    const text = disc.members.length === 1 ? disc.members[0].id : has(disc) ? chosen : '';
    if (!text) continue;
    const w = text.length * LETTER + 2;
    const right = disc.r + 4 + (disc.mark === 'well' ? 0 : 5);
    const sides = [[right, -8, right + w, 8, 'start', right, 4], [-disc.r - 4 - w, -8, -disc.r - 4, 8, 'end', -disc.r - 4, 4],
      [-w / 2, -disc.r - 18, w / 2, -disc.r - 2, 'middle', 0, -disc.r - 6], [-w / 2, disc.r + 2, w / 2, disc.r + 18, 'middle', 0, disc.r + 14],
      // Where neighbours crowd it, the corners.
      ...[[1, -1], [-1, -1], [1, 1], [-1, 1]].map(([sx, sy]) => {
        const [dx, dy] = [sx * (disc.r * 0.7 + 3 + (sx > 0 && sy < 0 ? right - disc.r - 4 : 0)), sy * (disc.r * 0.7 + 3)];
        return [sx > 0 ? dx : dx - w, sy > 0 ? dy : dy - 16, sx > 0 ? dx + w : dx, sy > 0 ? dy + 16 : dy, sx > 0 ? 'start' : 'end', dx, sy > 0 ? dy + 12 : dy - 4];
      })];
    for (const [x0, y0, x1, y1, anchor, dx, dy] of sides) {
      const box = [disc.x + x0, disc.y + y0, disc.x + x1, disc.y + y1];
      if (!free(box)) continue;
      taken.push(box);
      disc.label = { text, anchor, x: disc.x + dx, y: disc.y + dy };
      break;
    }
  }
}

/** The ring of a disc: each state's share of it, from the top. */
function ring(disc) {
  const parts = [['well', 0], ['warn', 0], ['bad', 0], ['tried', 0], ['drained', 0]];
  const add = (mark, n) => { (parts.find(([name]) => name === mark) || parts[0])[1] += n; };
  for (const site of disc.members) {
    if (disc.members.length > 1) { add(site.mark, 1); continue; }
    // A site that is not well as a whole has no well part, though its nodes may be.
    add(site.mark === 'warn' && !site.not_well ? 'warn' : 'well', site.in_use);
    for (const [mark, n] of [['warn', site.not_well], ['bad', site.out], ['tried', site.tried], ['drained', site.drained]]) add(mark, n || 0);
  }
  const whole = parts.reduce((sum, [, n]) => sum + n, 0) || 1;
  const round2 = 2 * Math.PI * disc.r;
  let from = 0;
  return parts.filter(([, n]) => n > 0).map(([mark, n]) => {
    const part = n / whole;
    const length = part * round2;
    const dash = part === 1 ? null : mark === 'drained' ? `${'2 2 '.repeat(Math.max(1, Math.floor(length / 4)))}0 ${round2}` : `${round(length)} ${round(round2 - length)}`;
    const arc = s('circle', { class: `ring ${mark}`, cx: round(disc.x), cy: round(disc.y), r: round(disc.r), 'stroke-dasharray': dash || (mark === 'drained' ? '2 2' : null),
      transform: `rotate(${round(from * 360 - 90)} ${round(disc.x)} ${round(disc.y)})` });
    from += part;
    return arc;
  });
}

const named = (disc) => (disc.members.length === 1
  ? `${disc.members[0].id}${disc.members[0].city ? ` ${disc.members[0].city}` : ''}: ${disc.members[0].words}, ${fmt.rate(disc.members[0].rate)}`
  : `${fmt.counted(disc.members.length, 'site')} near ${disc.members[0].id}; ${disc.members.filter((site) => site.mark !== 'well').length} need a look: go nearer`);

function draw(disc, chosen, nearer) {
  const isChosen = disc.members.some((site) => site.id === chosen);
  const href = disc.members.length === 1 ? nearer({ site: disc.members[0].id }) : nearer({ box: around(disc.members) });
  return s('a', { href, class: `disc${isChosen ? ' chosen' : ''}`, tabindex: -1, 'aria-label': named(disc), 'data-key': disc.members[0].id },
    s('circle', { class: 'hit', cx: round(disc.x), cy: round(disc.y), r: Math.max(12, disc.r + 2) }),
    isChosen && s('circle', { class: 'halo', cx: round(disc.x), cy: round(disc.y), r: disc.r + 3 }),
    s('circle', { class: 'body', cx: round(disc.x), cy: round(disc.y), r: disc.r }), ring(disc),
    disc.members.length > 1 && s('text', { class: 'count', x: round(disc.x), y: round(disc.y) + 4, 'text-anchor': 'middle' }, disc.members.length),
    !['well', 'drained'].includes(disc.mark) && [s('circle', { class: 'clear', cx: round(disc.x + disc.r * 0.75), cy: round(disc.y - disc.r * 0.75), r: 8 }),
      shape(disc.mark, round(disc.x + disc.r * 0.75), round(disc.y - disc.r * 0.75), 0.9)]);
}

/** Names stand above all discs, and beside their links: those have longer names of their own. */
const written = (discs) => s('g', { class: 'labels', 'aria-hidden': 'true' }, discs.map(({ label }) => label && s('text', { class: 'label', x: round(label.x), y: round(label.y), 'text-anchor': label.anchor }, label.text)));

/** The box of degrees around sites, never a point; `margin` is a share of it. */
function around(sites, margin = 0.25) {
  const lat = sites.map((site) => site.latitude);
  const lon = sites.map((site) => site.longitude);
  const pad = Math.max(1.5, (Math.max(...lon) - Math.min(...lon)) * margin, (Math.max(...lat) - Math.min(...lat)) * margin);
  return [Math.min(...lon) - pad, Math.max(-80, Math.min(...lat) - pad), Math.max(...lon) + pad, Math.min(80, Math.max(...lat) + pad)].map(round);
}

/** The densest region, if it is dense enough to need a drawing of its own and nothing lies where that would stand. */
function dense(sites, world, place) {
  let best = [];
  for (const centre of sites) {
    const near = sites.filter((site) => Math.abs(site.longitude - centre.longitude) < INSET.width / 2 && Math.abs(site.latitude - centre.latitude) < INSET.height / 2);
    if (near.length > best.length) best = near;
  }
  if (best.length < INSET.least) return null;
  const isUnder = ({ longitude, latitude }) => world.x(longitude) < place.x + place.width + 16 && world.y(latitude) > place.y - 16 && world.x(longitude) > place.x - 16;
  return sites.some((site) => !best.includes(site) && isUnder(site)) ? null : best;
}

function lines(flows, of, chosen, at, frame) {
  const most = Math.max(1, ...flows.map((flow) => flow.decisions));
  const grey = [];
  const pink = [];
  for (const flow of flows) {
    const disc = at.get(flow.site);
    if (!disc || (!of.lines && flow.site !== chosen)) continue;
    const [x, y] = [frame.x(flow.longitude), frame.y(flow.latitude)];
    // The other way round the earth would cross the whole map.
    if (Math.abs(x - disc.x) > frame.width / 2 || Math.hypot(x - disc.x, y - disc.y) < 3) continue;
    const bend = `M${round(x)} ${round(y)}Q${round((x + disc.x) / 2 + (disc.y - y) * 0.15)} ${round((y + disc.y) / 2 - Math.abs(disc.x - x) * 0.15)} ${round(disc.x)} ${round(disc.y)}`;
    const isChosen = flow.site === chosen;
    (isChosen ? pink : grey).push(s('path', { class: `flow${isChosen ? ' chosen' : ''}`, d: bend, 'stroke-width': round(0.8 + 4 * Math.sqrt(flow.decisions / most)) }));
  }
  return [...grey, ...pink];
}

function ground(frame, step = 30) {
  let graticule = '';
  for (let lon = -180; lon <= 180; lon += step) graticule += `M${round(frame.x(lon))} 0V${frame.height}`;
  for (let lat = -60; lat <= 60; lat += step) if (lat) graticule += `M0 ${round(frame.y(lat))}H${frame.width}`;
  return [s('path', { class: 'land', d: LAND, transform: frame.land }), s('path', { class: 'graticule', d: graticule }), s('path', { class: 'equator', d: `M0 ${round(frame.y(0))}H${frame.width}` })];
}

function discs(sites, frame, most, touch) {
  const isNearest = frame.k > NEAREST;
  const made = sites.map((site) => ({ ...site, x: frame.x(site.longitude), y: frame.y(site.latitude),
    r: RADIUS.least + (RADIUS.most - RADIUS.least) * Math.sqrt(Math.max(0, site.rate || 0) / most) }));
  return join(made.filter(({ x, y }) => x > -1 && y > -1 && x < frame.width + 1 && y < frame.height + 1), touch, isNearest).map((disc) => ({ ...disc,
    // A disc at the date line stays whole within the map.
    x: Math.min(frame.width - disc.r - 1, Math.max(disc.r + 1, disc.x)), y: Math.min(frame.height - disc.r - 1, Math.max(disc.r + 1, disc.y)),
    mark: disc.members.map((site) => site.mark).sort(worse)[0], rate: disc.members.reduce((sum, site) => sum + (site.rate || 0), 0) }));
}

/**
 * Draws `sites` in `width` px. `nearer` makes the link to what is chosen next: a site, or a box of degrees.
 * The discs come worst first, then from west to east, which is the order of the arrow keys.
 */
export function atlas({ sites, flows, box, isWorld, width, chosen, nearer }) {
  const frame = projection(box, width, { least: isWorld ? 0 : Math.min(320, width * 0.8), most: Math.max(300, width * 0.62) });
  const most = Math.max(1, ...sites.map((site) => site.rate || 0));
  const isFew = sites.length <= FEW;
  const touch = isFew && width >= INSET.room ? TOUCH_FEW : TOUCH_MANY;
  const place = { x: 8, y: Math.round(frame.height * 0.475), width: Math.round(width * 0.24), height: Math.round(frame.height * 0.5) };
  const inner = isWorld && isFew && width >= INSET.room ? dense(sites, frame, place) : null;
  const outer = inner ? sites.filter((site) => !inner.includes(site)) : sites;
  const shown = discs(outer, frame, most, touch);
  labels(shown, width, frame.height, chosen);
  const at = new Map(shown.flatMap((disc) => disc.members.map((site) => [site.id, disc])));
  const drawn = [s('g', { 'clip-path': 'url(#whole)' }, ground(frame), lines(flows, { lines: isFew }, chosen, at, frame))];
  const clips = [s('clipPath', { id: 'whole' }, s('rect', { width, height: frame.height }))];
  let near = [];
  if (inner) {
    const degrees = around(inner, 0.15);
    const small = projection(degrees, place.width, { least: place.height, most: place.height });
    near = discs(inner, small, most, TOUCH_FEW);
    labels(near, place.width, place.height, chosen);
    const within = new Map(near.flatMap((disc) => disc.members.map((site) => [site.id, disc])));
    const [x0, y0, x1, y1] = [frame.x(degrees[0]), frame.y(degrees[3]), frame.x(degrees[2]), frame.y(degrees[1])].map(round);
    const { x, y, width: w, height: hh } = place;
    clips.push(s('clipPath', { id: 'inset' }, s('rect', { width: w, height: hh })));
    drawn.push(s('rect', { class: 'away', x: x0, y: y0, width: x1 - x0, height: y1 - y0 }), s('text', { class: 'away', x: (x0 + x1) / 2, y: (y0 + y1) / 2 + 4, 'text-anchor': 'middle' }, fmt.counted(inner.length, 'site')),
      s('path', { class: 'lead', d: `M${x0} ${y0}L${x} ${y}M${x1} ${y1}L${x + w} ${y + hh}` }),
      s('g', { transform: `translate(${x} ${y})` }, s('rect', { class: 'sea', width: w, height: hh }),
        s('g', { 'clip-path': 'url(#inset)' }, ground(small), lines(flows, { lines: true }, chosen, within, small)), s('rect', { class: 'border', width: w, height: hh })));
    for (const disc of near) {
      disc.x += x;
      disc.y += y;
      if (disc.label) { disc.label.x += x; disc.label.y += y; }
    }
  }
  const order = [...near, ...shown].sort((a, b) => worse(a.mark, b.mark) || a.x - b.x);
  const links = order.map((disc) => draw(disc, chosen, nearer));
  const svg = s('svg', { class: 'atlas', viewBox: `0 0 ${width} ${frame.height}`, width, height: frame.height, role: 'group', 'aria-label': 'Map of sites; arrow keys go from one to the next, worst first' },
    s('defs', {}, clips), drawn, s('rect', { class: 'border', width, height: frame.height }), [...links].reverse(), written(order));
  return { svg, links, height: frame.height };
}
