// Two texts beside each other, line by line.

import { h } from './dom.js';

// A table of the changed middle: above this many pairs of lines the two are shown one after the other instead.
const MOST_PAIRS = 4_000_000;
const AROUND = 2;

/** The lines of both, each with `op` "+", "-" or " ". */
export function compare(before, after) {
  const [a, b] = [before, after].map((text) => (text || '').split('\n'));
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const [x, y] = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)];
  const same = (lines) => lines.map((text) => ({ op: ' ', text }));
  return [...same(a.slice(0, head)), ...middle(x, y), ...same(a.slice(a.length - tail))];
}

/** The longest common lines stay, the others go or come. */
function middle(x, y) {
  if (x.length * y.length > MOST_PAIRS) return [...x.map((text) => ({ op: '-', text })), ...y.map((text) => ({ op: '+', text }))];
  const width = y.length + 1;
  const longest = new Uint32Array((x.length + 1) * width);
  for (let i = x.length - 1; i >= 0; i -= 1) for (let j = y.length - 1; j >= 0; j -= 1)
    longest[i * width + j] = x[i] === y[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
  const made = [];
  for (let i = 0, j = 0; i < x.length || j < y.length;) {
    if (i < x.length && j < y.length && x[i] === y[j]) { made.push({ op: ' ', text: x[i] }); i += 1; j += 1; }
    else if (j >= y.length || (i < x.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) made.push({ op: '-', text: x[i++] });
    else made.push({ op: '+', text: y[j++] });
  }
  return made;
}

/** Shows the lines that changed and a few around them. */
export function diff(lines) {
  if (!lines.some(({ op }) => op !== ' ')) return h('p', { class: 'note' }, 'The texts are the same.');
  const near = lines.map((_, i) => lines.slice(Math.max(0, i - AROUND), i + AROUND + 1).some(({ op }) => op !== ' '));
  const made = [];
  lines.forEach(({ op, text }, i) => {
    if (near[i]) made.push(h('div', { class: { '+': 'add', '-': 'del' }[op] || 'same' }, `${op} ${text}`));
    else if (i === 0 || near[i - 1]) made.push(h('div', { class: 'same' }, '  …'));
  });
  return h('div', { class: 'diff mono', tabindex: 0, role: 'region', 'aria-label': 'What changed in the text' }, made);
}
