// Building nodes: text is only ever text, and nothing here takes markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attrs, kids) {
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value == null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    // Custom properties go by the object model: a style attribute would be refused by the policy of the page.
    else if (name === 'vars') for (const [key, of] of Object.entries(value)) element.style.setProperty(`--${key}`, of);
    else element.setAttribute(name, value === true ? '' : value);
  }
  put(element, kids);
  return element;
}

function put(element, kids) {
  for (const kid of kids) {
    if (Array.isArray(kid)) put(element, kid);
    else if (kid != null && kid !== false) element.append(kid);
  }
}

/** An element of HTML: `h('a', { href: '/map' }, 'Map')`. */
export const h = (tag, attrs, ...kids) => fill(document.createElement(tag), attrs, kids);

/** An element of SVG. */
export const s = (tag, attrs, ...kids) => fill(document.createElementNS(SVG, tag), attrs, kids);

// Shapes of 12 by 12 around the middle, one path each: what is not well differs by shape before it does by colour.
const SHAPES = {
  well: 'M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z',
  warn: 'M0-5.5 6 5H-6z',
  bad: 'M-6-6H6V6H-6zM-3.4-2.2-1.2 0-3.4 2.2-2.2 3.4 0 1.2 2.2 3.4 3.4 2.2 1.2 0 3.4-2.2 2.2-3.4 0-1.2-2.2-3.4z',
  tried: 'M0-5A5 5 0 0 1 0 5zM0-5A5 5 0 0 0 0 5V3.6A3.6 3.6 0 0 1 0-3.6z',
  drained: 'M0-6 6 0 0 6-6 0zM0-3.9-3.9 0 0 3.9 3.9 0z',
  unknown: 'M0-5A5 5 0 1 1 0 5 5 5 0 1 1 0-5z',
  flag: 'M-4.5-6H5L2.6-2.8 5 .4H-3V6H-4.5z',
};

const NAMES = {
  well: 'well', warn: 'not well', bad: 'out', tried: 'being tried', drained: 'drained', unknown: 'not known', flag: 'revision',
};

/** The shape of a mark within a drawing, at `x`, `y`. */
export const shape = (mark, x, y, scale = 1) =>
  s('path', { class: `mk-${SHAPES[mark] ? mark : 'unknown'}`, d: SHAPES[mark] || SHAPES.unknown,
    'fill-rule': 'evenodd', transform: `translate(${x} ${y}) scale(${scale})` });

/** A mark in a line of text. It says its name only where no word stands beside it. */
export function mark(kind, alone) {
  const drawn = { class: 'mk', viewBox: '-7 -7 14 14', width: 14, height: 14 };
  const name = NAMES[kind] || NAMES.unknown;
  return alone ? s('svg', { ...drawn, role: 'img', 'aria-label': name }, shape(kind, 0, 0))
    : s('svg', { ...drawn, 'aria-hidden': 'true' }, shape(kind, 0, 0));
}

const shown = new WeakMap();
let pointer = { element: null, at: 0 };
addEventListener('pointermove', (event) => { pointer = { element: event.target, at: performance.now() }; }, { passive: true });

// A pointer that rests is somebody who went away: after this long a region may change under it.
const RESTS_MS = 8000;
// Whoever has just pressed something waits for what it does.
const ASKED_MS = 1500;
let askedAt = -ASKED_MS;
for (const kind of ['click', 'keydown', 'change']) addEventListener(kind, () => { askedAt = performance.now(); }, { capture: true, passive: true });

/**
 * Shows `build(input)` in `element` if the input is another than what is shown. Nothing moves under a pointer in motion:
 * then it is left for the next call. Focus stays on what has the same `href`, `id` or `name`; if that is gone, the
 * region waits.
 */
export function region(element, input, build) {
  const key = JSON.stringify(input);
  if (shown.get(element) === key) return;
  const isFirst = !shown.has(element);
  const now = performance.now();
  const isAsked = now - askedAt < ASKED_MS;
  const isHovered = pointer.element && element.contains(pointer.element) && now - pointer.at < RESTS_MS && !isAsked;
  if (!isFirst && isHovered) return;
  const made = [build(input)].flat(9).filter((kid) => kid != null && kid !== false);
  const held = element.contains(document.activeElement) && document.activeElement !== element ? document.activeElement : null;
  let successor = null;
  if (held) {
    const same = (name) => held.getAttribute(name) && `[${name}="${CSS.escape(held.getAttribute(name))}"]`;
    const wanted = same('id') || same('data-key') || same('href') || same('name');
    const box = h('div', {}, made);
    successor = wanted && box.querySelector(wanted);
    if (!successor && !isAsked) return;
  }
  element.replaceChildren(...made);
  shown.set(element, key);
  if (successor) successor.focus({ preventScroll: true });
  else if (held) {
    // What was pressed is gone with its press ("Show all"): reading goes on from here.
    element.tabIndex = -1;
    element.focus({ preventScroll: true });
  }
}
