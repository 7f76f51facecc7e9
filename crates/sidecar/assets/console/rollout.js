// The rollout of a policy: its stages as a bar, its guards in words and as small charts, and what may be done with it.

import { h, s, mark } from './dom.js';
import * as fmt from './fmt.js';
import { now, store } from './store.js';
import { act, may } from './actions.js';

const METRICS = { failed_ratio: 'Failed attempts', error_ratio: 'Failed attempts', hit_ratio: 'Hit ratio', latency_p99: 'Hit p99', latency_p50: 'Hit p50' };
const VERDICTS = { pass: ['well', 'pass'], near: ['warn', 'near its limit'], inconclusive: ['unknown', 'not known yet'], unknown: ['unknown', 'not known yet'], fail: ['bad', 'fail'] };
const COHORTS = { key: 'by cache key', client: 'by client' };

/** What a guard saw in the last minutes, and the worst that it might have seen. */
function chart({ candidate = [], control = [], worst = [] } = {}) {
  const points = candidate.map((value, i) => ({ candidate: value, control: control[i], worst: worst[i] }));
  const values = points.flatMap((point) => Object.values(point)).filter((value) => value != null);
  if (values.length < 4) return null;
  const most = Math.max(...values) * 1.25 || 1;
  const [width, height] = [220, 44];
  const path = (name) => points.map((point, i) => (point[name] == null ? '' : `${i && points[i - 1][name] != null ? 'L' : 'M'}${Math.round((i / Math.max(1, points.length - 1)) * width)} ${Math.round((height - (point[name] / most) * height) * 10) / 10}`)).join('');
  return s('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', height, 'aria-hidden': 'true' }, s('path', { class: 'base', d: `M0 ${height}H${width}` }),
    s('path', { class: 'limit', d: path('worst'), 'vector-effect': 'non-scaling-stroke' }), s('path', { class: 'control', d: path('control'), 'vector-effect': 'non-scaling-stroke' }), s('path', { class: 'new', d: path('candidate'), 'vector-effect': 'non-scaling-stroke' }));
}

function guard(of) {
  const [kind, words] = VERDICTS[of.verdict] || ['unknown', (of.verdict || '').replaceAll('_', ' ')];
  const name = METRICS[of.metric] || of.metric.replaceAll('_', ' ').replace(/^./, (first) => first.toUpperCase());
  return h('div', {}, h('h3', {}, mark(kind), name), h('p', {}, `${words}, ${fmt.counted(of.samples, 'sample')}`), chart(of.series), h('p', {}, of.words));
}

/** Stages before the present one are done. */
function stages({ stage, stages: all, stage_percents: percents, hold_ms: hold, stage_since_unix_ms: since, phase }) {
  const left = since + hold - now();
  const waits = phase === 'running' ? (hold > 0 ? (left > 0 ? `${fmt.since(left)} to go` : 'as soon as its guards say') : 'stays') : phase;
  return h('div', { class: 'stages' }, Array.from({ length: all }, (_, i) => h('div', { class: i + 1 < stage ? 'done' : i + 1 === stage ? 'current' : null },
    h('strong', {}, fmt.percent(percents[i])), i + 1 < stage ? [mark('well'), ' passed'] : i + 1 === stage ? waits : 'to come')));
}

/** The section, or what became of the last one. */
export function rollout({ rollout: of, last, revision }, done) {
  if (!of) return last ? h('p', { class: 'note' }, `No rollout is under way. The last one, ${fmt.digest(last.digest)}, is ${last.fate.replaceAll('_', ' ')}${last.why ? `: ${last.why}` : ''}, at ${fmt.date(last.at_unix_ms)}.`) : null;
  const isPaused = of.phase === 'paused';
  const words = [of.why || fmt.digest(of.digest), `${COHORTS[of.cohort] || of.cohort}`, of.who && `by ${of.who}`].filter(Boolean).join('; ');
  return h('section', { class: 'rollout' }, h('div', { class: 'head' }, h('h2', {}, of.phase === 'shadow' ? 'Shadow' : 'Rollout'), h('span', { class: 'note' }, words),
    h('div', { class: 'right doings' }, isPaused ? act('resume', {}, done, 'Resume') : act('pause', {}, done, 'Pause'), act('promote', {}, done, 'Promote'), act('abort', {}, done, `Abort: back to revision ${revision}`))),
  isPaused && of.paused_because && h('p', {}, mark('warn'), ` Paused: ${of.paused_because}`), stages(of), h('div', { class: 'guards' }, (of.guards || []).map(guard)),
  of.expectations?.length > 0 && h('ul', { class: 'note' }, of.expectations.map((line) => h('li', {}, line))),
  of.changes?.length > 0 && h('p', { class: 'note' }, `It changes: ${of.changes.join('; ')}.`), of.shadow && h('p', { class: 'note' }, `Of ${fmt.counted(of.shadow.requests, 'request')} decided by both, ${
    fmt.count(of.shadow.disagreements.reduce((sum, one) => sum + one.requests, 0))} came out otherwise.`),
  !may() && h('p', { class: 'note', id: 'why-not' }, `Needs the role operate; you have ${(store.sidecar?.roles || []).join(' and ') || 'none'}. In a terminal: `, h('span', { class: 'mono' }, 'tradewind rollout pause --why TEXT')));
}
