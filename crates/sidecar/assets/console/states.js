// What is shown when things are not as usual: a sheet of specimens, made of the same parts as the pages.

import { h, mark } from './dom.js';
import { notice } from './frame.js';
import { answers } from './overview.js';
import { nothing } from './live.js';

export const topics = [];

const specimen = (name, words, content, attrs) => h('section', { class: 'specimen', ...attrs }, h('h2', {}, name), h('p', {}, words), h('div', {}, content));
const RUNGS = ['normal', 'unknown', 'overloaded', 'half open', 'next tier', 'panic', 'origin'];

const ladder = (here) => h('div', { class: 'ladder' }, RUNGS.map((rung, i) => h('span', { class: i < here ? 'passed' : i === here ? 'here' : null, 'aria-current': i === here ? 'step' : null }, rung)));

const LOST = [
  { key: 'was-up', question: 'Is it up?', mark: 'well', answer: 'It was, 23 s ago.', proof: [{ text: '80 of 82 nodes were in use.' }] },
  { key: 'was-slow', question: 'Is it slow?', mark: 'warn', answer: 'At 1 node and near SIN.', proof: [{ text: 'ams-3 took 36.9 ms, 11.8 ms is usual.' }] },
  { key: 'was-failing', question: 'Is anything failing?', mark: 'bad', answer: 'One node.', proof: [{ text: 'cdg-2 was left out by the breaker.' }] },
  { key: 'was-changed', question: 'Did the last change alter anything?', mark: 'warn', answer: 'It moved 19 % of requests.', proof: [{ text: 'Revision 3, 4 min ago.' }] },
];

const faulty = (label, value, fault, id) => h('div', { class: 'field' }, h('span', {}, h('label', { for: id }, label)), h('input', { id, class: 'mono', value, readonly: true, 'aria-invalid': 'true', 'aria-describedby': `${id}-why` }),
  h('p', { class: 'fault', id: `${id}-why` }, mark('bad'), h('span', {}, fault)));

export function open(main) {
  main.append(h('h1', { tabindex: -1 }, 'What is shown when things are not as usual'), h('p', { class: 'lead' }, 'Nothing is hidden: each state says what is known, since when, and what to do. The figures on this sheet are invented.'),
    h('div', { class: 'specimens' },
      specimen('The sidecar does not answer', 'The last state stays, greyed, and its times go on counting. Nothing can be asked or changed until it is back.',
        [h('div', { class: 'alert' }, mark('bad'), h('p', {}, h('strong', {}, 'No answer from edge-fra-07 for 23 s. '), 'What you see is of 22:25:00. Trying again in 4 s.'), h('button', { type: 'button' }, 'Try now')), h('div', { class: 'answers greyed' }, answers(LOST))], { class: 'specimen whole' }),
      specimen('Before the first policy', 'A start with no file that can be used. The one thing to do comes first.', [h('p', { class: 'says' }, 'Nothing is in force: every request is refused.'), h('p', {}, 'Callers get ', h('code', {}, 'FAILED_PRECONDITION'), ' and use their own order.'),
        notice('bad', 'policy.yaml is refused, 3 faults.', h('pre', {}, 'policy.yaml:70:15: error[D005]: spec.rules[0].spread: `5` is not a duration\npolicy.yaml:104:7: error[P008]: no class is called `imag`\n… 1 more')), h('p', { class: 'note' }, 'It is read again as soon as it changes; now: ', h('code', {}, 'kill -HUP'), '.')]),
      specimen('Nobody tells how requests go', 'No outcomes, no probes: the answers about speed and failures are unknown, not good.', [notice('idle', 'Breakers and latencies are blind.', '601 requests a second are decided by distance and priors alone; a node that fails is not noticed here.'),
        h('p', {}, 'Let the proxy tell: the access log of Envoy, ', h('code', {}, 'POST /v1/outcomes'), ', or set ', h('code', {}, 'probe'), ' in the policy.')]),
      specimen('A lower rung', 'Which, why, since when, and what brings it back.', [h('p', { class: 'says' }, mark('bad'), ' Serving on a lower rung: pool edge is overloaded.'), ladder(2), h('p', {}, '41 % of its weight is well, 50 % must be. For 2 min. 12 nodes that are too busy take traffic again.'),
        h('p', { class: 'note' }, 'It goes back when 60 % has been well for 30 s. Never used: maintenance, wrong capability, outside the fence.')]),
      specimen('This sidecar may be the sick one', 'Most nodes of several sites failed at once, so their verdicts are not believed.', notice('bad', 'this sidecar: perhaps cut off.', 'Most nodes of several sites failed at once and none answers. Verdicts are frozen: nodes stay in use as they were before. Failures are believed again in 36 s.')),
      specimen('A fleet that waits for a yes', 'A topology that takes away more than the guard allows is held.', notice('warn', 'topology.yaml takes away 38 % of the fleet’s weight; it is held for 4 min.', ['The fleet of before serves on. Take it with ', h('code', {}, 'tradewind topology apply'), '.'])),
      specimen('A question that can not be asked', 'Every fault at once, at its field; the last answer stays below.', h('div', { class: 'ask' }, faulty('URL', 'www.example.com page', 'path must begin with /', 'bad-url'), faulty('Client address', '300.1.1.1', '300.1.1.1 is not an IP address', 'bad-client'))),
      specimen('Nothing matches', 'Says what was looked through, and how to widen it.', nothing({ kept: 600, oldest: Date.UTC(2026, 0, 1, 22, 24, 32), ratio: 0.01, asked: 'site GRU and reason site spilled', clear: true })),
      specimen('Allowed to look, not to change', 'The button stays where it is and says why not.', [h('p', {}, h('button', { type: 'button', disabled: true, 'aria-describedby': 'role-missing' }, 'Reset the breaker of cdg-2'), ' ', h('span', { id: 'role-missing' }, 'Needs the role operate; you have observe. In a terminal: ')),
        h('p', {}, h('code', {}, 'tradewind reset-breaker cdg-2'))])));
  return { topics };
}
