// The log of the Overview: five tracks on one time axis, events as flags through all of them, a crosshair with all values.

import { s, h, shape } from './dom.js';
import * as fmt from './fmt.js';
import { bound, last, median } from './derive.js';

const TRACK = { height: 46, gap: 24 };
const LANE = 18;
// A phone has no room beside the tracks: names stand above them, and flags have short names.
const NARROW = 640;
// A bar is red only above so many times its median: some attempts always fail.
const UNUSUAL = 3;
const MOST_LANES = 5;
// What a letter of chart text is wide at most, in px: labels are laid out before they are drawn.
const LETTER = 6.6;

/** What the tracks show, out of an answer of /debug/history. */
export function tracks(history) {
  const has = (name) => (history[name] || []).some((value) => value != null);
  const needless = history.needless_ratio || [];
  const fails = last(history.failed_per_s);
  const attempts = last(history.attempts_per_s);
  const refused = last(history.refused_per_s);
  return [
    { name: 'Decisions', now: fmt.rate(last(history.decisions_per_s)), kind: 'area', values: history.decisions_per_s, unit: fmt.rate,
      note: refused > 0 ? `route; ${fmt.rate(refused)} refused` : 'route; none refused', axis: fmt.count },
    { name: 'Time at nodes', now: has('p50_ms') ? `${fmt.ms0(last(history.p50_ms))} / ${fmt.ms(last(history.p99_ms))}` : fmt.NOT_TOLD, kind: 'lines',
      values: history.p50_ms, more: history.p99_ms, unit: fmt.ms, note: 'p50 and p99, all nodes', axis: fmt.ms },
    { name: 'Failed attempts', now: fmt.rate(fails), kind: 'bars', values: history.failed_per_s, unit: fmt.rate, axis: fmt.rate, red: unusual(history.failed_per_s),
      note: attempts > 0 ? `${fmt.share(fails / attempts)} of all; red: unusual` : 'nobody tells of any' },
    { name: 'Nodes not in use', now: has('nodes_out') ? `${fmt.count(last(history.nodes_out))} of ${fmt.count(last(history.nodes))}` : fmt.NOT_TOLD, kind: 'steps', values: history.nodes_out,
      unit: (value) => fmt.counted(Math.round(value), 'node'), note: 'breaker open or drained', axis: fmt.count, atLeast: 4 },
    { name: 'Keys moved', now: fmt.share(last(history.moved_ratio)), kind: 'bars', values: history.moved_ratio, more: needless, unit: fmt.share,
      note: 'red: more than needed', axis: fmt.share, red: (history.moved_ratio || []).map((_, i) => needless[i] > 0), atLeast: 0.07 },
  ];
}

function unusual(values = []) {
  const usual = median(values.filter((value) => value > 0));
  return values.map((value) => usual !== undefined && value > UNUSUAL * usual);
}

/** Where flags stand: one lane after the other, from the left, a label on the other side where the right edge is near. */
export function lanes(flags, x, right, isNarrow) {
  const ends = [];
  const placed = [];
  for (const flag of flags) {
    const text = isNarrow ? flag.short : flag.title;
    const width = 14 + text.length * LETTER;
    const at = x(flag.at);
    const flips = at + width > right;
    const [from, to] = flips ? [at - width, at + 8] : [at - 8, at + width];
    let lane = ends.findIndex((end) => end + 6 <= from);
    if (lane < 0 && ends.length < MOST_LANES) lane = ends.push(-Infinity) - 1;
    // With no lane left the line still says when; the words are in the table.
    if (lane >= 0) ends[lane] = Math.max(ends[lane], to);
    placed.push({ flag, at, lane, text, flips });
  }
  return { placed, count: ends.length };
}

const round = (value) => Math.round(value * 10) / 10;

function outline(values, x, y, isStep) {
  let path = '';
  let before = null;
  values.forEach((value, i) => {
    if (value == null) { before = null; return; }
    const [px, py] = [round(x(i)), round(y(value))];
    path += before === null ? `M${px} ${py}` : isStep ? `H${px}V${py}` : `L${px} ${py}`;
    before = value;
  });
  return path;
}

function filled(values, x, y, base, isStep) {
  const first = values.findIndex((value) => value != null);
  const end = values.findLastIndex((value) => value != null);
  if (first < 0) return '';
  return `${outline(values.map((value) => value ?? 0).slice(first, end + 1), (i) => x(i + first), y, isStep)}V${base}H${round(x(first))}z`;
}

function bars(values, x, y, base, width, wanted) {
  return values.map((value, i) => (value > 0 && wanted(i) ? `M${round(x(i) - width / 2)} ${base}V${round(Math.min(y(value), base - 1))}h${round(width)}V${base}z` : '')).join('');
}

function drawTrack(track, top, scale) {
  const { x, left, right, isNarrow, step } = scale;
  const base = top + TRACK.height;
  const values = track.values || [];
  const most = Math.max(0, ...values.filter((v) => v != null), ...(track.kind === 'lines' ? (track.more || []).filter((v) => v != null) : []));
  const limit = bound(Math.max(most, track.atLeast || 0));
  const y = (value) => base - (value / limit) * TRACK.height;
  const drawn = [s('path', { class: 'grid', d: `M${left} ${top}H${right}` }), s('path', { class: 'base', d: `M${left} ${base}H${right}` })];
  if (track.kind === 'area') drawn.push(s('path', { class: 'area', d: filled(values, x, y, base) }), s('path', { class: 'line network', d: outline(values, x, y) }));
  if (track.kind === 'lines') {
    drawn.push(s('path', { class: 'line queue dashed', d: outline(track.more || [], x, y) }), s('path', { class: 'line network', d: outline(values, x, y) }));
    if (!isNarrow && most) [['p99', last(track.more)], ['p50', last(values)]].forEach(([name, value]) =>
      value != null && drawn.push(s('text', { x: right + 6, y: y(value) + (name === 'p99' ? 2 : 5) }, name)));
  }
  if (track.kind === 'steps') {
    const isOut = most > 0;
    drawn.push(s('path', { class: isOut ? 'area bad' : 'area none', d: filled(values, x, y, base, true) }), s('path', { class: `line ${isOut ? 'bad' : 'calm'}`, d: outline(values, x, y, true) }));
  }
  if (track.kind === 'bars') {
    const width = Math.max(1.5, step - 1);
    const isRed = (i) => Boolean(track.red?.[i]);
    drawn.push(s('path', { class: 'bar', d: bars(values, x, y, base, width, (i) => !isRed(i)) }), s('path', { class: 'bar bad', d: bars(values, x, y, base, width, isRed) }));
    // Of a movement only the needless part is red.
    if (track.name === 'Keys moved') drawn.splice(-1, 1, s('path', { class: 'bar', d: bars(values, x, y, base, width, isRed) }),
      s('path', { class: 'bar bad', d: bars(track.more || [], x, y, base, width, isRed) }));
  }
  if (isNarrow) {
    drawn.push(s('text', { class: 'name', x: left, y: top - 5 }, track.name), s('text', { class: 'name', x: right, y: top - 5, 'text-anchor': 'end' }, track.now));
  } else {
    drawn.push(s('text', { x: left - 8, y: top + 4, 'text-anchor': 'end' }, track.axis(limit).replace('.0', '')), s('text', { class: 'name', x: 0, y: top + 13 }, track.name),
      s('text', { class: 'value', x: 0, y: top + 32 }, track.now), s('text', { x: 0, y: top + 48 }, track.note));
  }
  return drawn;
}

/** Draws the log, `width` px wide. What is returned also knows which place is at which x. */
export function log(history, flags, width) {
  const isNarrow = width < NARROW;
  const left = isNarrow ? 0 : 184;
  const right = width - (isNarrow ? 0 : 34);
  const from = history.from_unix_ms;
  const until = from + history.decisions_per_s.length * history.step_ms;
  const of = (t) => left + ((t - from) / (until - from)) * (right - left);
  const step = (right - left) / history.decisions_per_s.length;
  const x = (i) => left + (i + 0.5) * step;
  const { placed, count } = lanes(flags.filter((flag) => flag.at >= from && flag.at <= until), of, width, isNarrow);
  const top = Math.max(1, count) * LANE + (isNarrow ? 28 : 20);
  const pitch = TRACK.height + TRACK.gap;
  const shown = tracks(history);
  const bottom = top + shown.length * pitch - TRACK.gap + 18;
  const drawn = [];
  const started = Math.min(history.started_unix_ms, until);
  if (started > from) {
    drawn.push(s('rect', { class: 'before', x: left, y: top, width: Math.max(0, of(started) - left), height: bottom - top }));
    const words = `before this sidecar started, ${fmt.minute(started)}`;
    if (of(started) - left > words.length * LETTER) drawn.push(s('text', { x: left + 10, y: top + 20 }, words));
  }
  shown.forEach((track, i) => drawn.push(...drawTrack(track, top + i * pitch, { x, left, right, isNarrow, step })));
  const minutes = { '15m': isNarrow ? 6 : 3, '1h': isNarrow ? 20 : 10, '6h': isNarrow ? 120 : 60 }[history.range] * 60000;
  for (let t = Math.ceil(from / minutes) * minutes; of(t) < right - 40; t += minutes)
    if (of(t) > left + 16) drawn.push(s('text', { x: of(t), y: bottom + 16, 'text-anchor': 'middle' }, fmt.minute(t)));
  drawn.push(s('text', { x: isNarrow ? right : right + 12, y: bottom + 16, 'text-anchor': 'end' }, 'now'));
  for (const { flag, at, lane, text, flips } of placed) {
    const y = Math.max(0, lane) * LANE + 10;
    drawn.push(s('path', { class: flag.mark === 'flag' ? 'event revision' : 'event', d: `M${round(at)} ${y + 6}V${bottom}` }));
    if (lane < 0) continue;
    drawn.push(shape(flag.mark, round(at) + (flag.mark === 'flag' ? 3 : 0), y, 0.85),
      s('text', { class: flag.mark === 'flag' ? 'words revision' : 'words', x: at + (flips ? -10 : 10), y: y + 4, 'text-anchor': flips ? 'end' : 'start' }, text));
  }
  const cross = s('path', { class: 'cross', d: '' });
  const svg = s('svg', { class: 'log', viewBox: `0 0 ${width} ${bottom + 24}`, width, height: bottom + 24, 'aria-hidden': 'true' }, drawn, cross);
  return { svg, at: (px) => Math.min(history.decisions_per_s.length - 1, Math.max(0, Math.floor((px - left) / step))), x, move: (i) =>
    cross.setAttribute('d', i == null ? '' : `M${round(x(i))} ${top}V${bottom}`), width, left };
}

/** All values of one place, in words. */
export function reading(history, i) {
  const t = history.from_unix_ms + i * history.step_ms;
  const rows = tracks(history).map((track) => [track.name, track.values?.[i] == null ? fmt.NOT_TOLD
    : track.kind === 'lines' ? `${fmt.ms0(track.values[i])} / ${fmt.ms(track.more?.[i])}` : track.unit(track.values[i])]);
  return { t, rows };
}

/** The same as a table, thinned to at most 30 rows, for who reads rather than looks. */
export function table(history, flags) {
  const length = history.decisions_per_s.length;
  const every = Math.ceil(length / 30);
  const names = reading(history, 0).rows.map(([name]) => name);
  const rows = [];
  for (let i = length - 1; i >= 0; i -= every) {
    const { t, rows: values } = reading(history, i);
    const began = t - (every - 1) * history.step_ms;
    const seen = flags.filter((flag) => flag.at >= began && flag.at < t + history.step_ms).map((flag) => flag.title);
    rows.push(h('tr', {}, h('th', { scope: 'row' }, fmt.time(t)), values.map(([, value]) => h('td', {}, value)), h('td', {}, seen.join('; ') || 'nothing')));
  }
  return h('table', {}, h('thead', {}, h('tr', {}, ['Time, UTC', ...names, 'What happened'].map((name) => h('th', { scope: 'col' }, name)))), h('tbody', {}, rows));
}
