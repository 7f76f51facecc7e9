// 4, and the questions of who is on call: each state of a fleet is caused on a sidecar of its own, and Overview must answer
// by itself. Prints what it says; `scenes.json` among the pictures has all of it. Needs --tradewind.

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import http from 'node:http';
import { assert, sleep } from '../lib.mjs';
import { REFUSED, SITES, Stage, freePort, policy, topology } from '../stage.mjs';

// What nodes need to have shown until anything is usual for them, and a change of it is told from noise.
const WARM_MS = 15000;
const SCENE_MS = 75000;
const NODES = SITES.flatMap(([id]) => [1, 2, 3].map((i) => `${id.toLowerCase()}-${i}`));

/** What Overview says, as text. */
const read = (page) => page.evaluate(() => {
  const text = (one) => (one?.textContent || '').replace(/\s+/g, ' ').trim();
  const mark = (one) => [...one.querySelectorAll('svg.mk path')].map((path) => path.getAttribute('class').replace('mk-', ''))[0];
  return {
    headline: text(document.querySelector('h1')), line: text(document.querySelector('.lead')),
    answers: Object.fromEntries([...document.querySelectorAll('.answers .answer')].map((one) => [one.id, { mark: mark(one), says: text(one.querySelector('.says')), proof: text(one.querySelector('.proof')) }])),
    needs: [...document.querySelectorAll('.needs tbody tr')].map((row) => ({ mark: mark(row), name: text(row.querySelector('th a')), state: text(row.querySelector('th .note')), why: text(row.cells[1]), since: text(row.cells[2]), back: text(row.cells[3]) })),
    force: Object.fromEntries([...document.querySelectorAll('.force > div')].map((one) => [text(one.querySelector('dt')), text(one.querySelector('dd'))])),
    panel: [...document.querySelectorAll('.panel .node')].map(text),
    link: text(document.getElementById('link')), hot: [...document.querySelectorAll('.hot')].map(text),
  };
});

const row = (need) => `${need.name} ${need.state} | ${need.why} | ${need.since} | ${need.back}`;

/** The numbers of the first answer must be of all nodes, whatever is said of them. */
function sums({ answers }) {
  const [, used, all, rest] = /^([\d,]+) of ([\d,]+) nodes are in use(;[^.]*)?\./.exec(answers.up?.proof || '') || [];
  if (!all) return '';
  const number = (text) => Number(text.replaceAll(',', ''));
  const sum = (rest?.match(/[\d,]*\d/g) || []).reduce((total, one) => total + number(one), number(used));
  return sum === number(all) ? '' : `the first answer does not add up: "${answers.up.proof}"`;
}

/** Seconds that a row says it has lasted; 0 where it says nothing. */
const lasts = ({ since }) => { const [, n, unit] = /(\d+) (s|min)/.exec(since) || [0, 0]; return Number(n) * (unit === 'min' ? 60 : 1); };

/** What of `wanted` does not hold, in words; empty if all does. `passed` are seconds since it was caused. */
function missing(seen, { headline, line, answers = {}, needs = [], absent = [], young, force = {}, panel = [], link, hot }, passed) {
  const lacks = [sums(seen)].filter(Boolean);
  for (const need of absent) if (seen.needs.some((one) => need.test(row(one)))) lacks.push(`there is ${need} in "Needs a look"`);
  const old = young && seen.needs.find((one) => young.test(row(one)) && lasts(one) > passed + 2);
  if (old) lacks.push(`caused ${Math.round(passed)} s ago: "${row(old)}"`);
  if (line && !line.test(seen.line)) lacks.push(`the line is "${seen.line}"`);
  for (const one of panel) if (!seen.panel.some((node) => one.test(node))) lacks.push(`nothing of ${one} in the panel: ${seen.panel.join('; ')}`);
  if (headline && !headline.test(seen.headline)) lacks.push(`the headline is "${seen.headline}"`);
  for (const [key, [mark, says, proof]] of Object.entries(answers)) {
    const answer = seen.answers[key] || {};
    if (mark && answer.mark !== mark) lacks.push(`${key} is marked ${answer.mark}: "${answer.says} ${answer.proof}"`);
    if (says && !says.test(answer.says)) lacks.push(`${key} is answered "${answer.says}"`);
    if (proof && !proof.test(answer.proof)) lacks.push(`${key} is proved by "${answer.proof}"`);
  }
  for (const need of needs) if (!seen.needs.some((one) => need.test(row(one)))) lacks.push(`nothing of ${need} in "Needs a look"`);
  for (const [term, says] of Object.entries(force)) if (!says.test(seen.force[term] || '')) lacks.push(`${term}: "${seen.force[term]}"`);
  if (link && !link.test(seen.link)) lacks.push(`the header says "${seen.link}"`);
  if (hot && !seen.hot.some((row) => hot.test(row))) lacks.push(`hot keys: ${seen.hot.join('; ')}`);
  return lacks.join('; ');
}

const slow = Object.fromEntries([['ams-3', { ms: 60 }]]);
const out = (site) => Object.fromEntries([1, 2, 3].map((i) => [`${site}-${i}`, REFUSED]));
const WELL = { up: ['well', /^Yes\.$/], slow: ['well', /^No\.$/], failing: ['well', /^No\.$/] };

/** One sidecar each, and what is caused on it, one after the other. */
const ACTS = [
  { traffic: { tells: false }, scenes: [
    { name: 'nobody tells', answers: { up: ['well', /^Yes\.$/], slow: ['unknown', /^Nobody tells\.$/], failing: ['unknown', /^Nobody tells\.$/], changed: ['well', /^Nothing has changed\.$/] } },
  ] },
  { scenes: [
    { name: 'all is well', headline: /^Serving\. Every node and site is well\.$/, answers: { ...WELL, changed: ['well', /^Nothing has changed\.$/] }, force: { Rung: /^normal/, Geo: /^1 file/ } },
    { name: 'a bad policy is refused', cause: (stage) => stage.write('policy.yaml', policy({ images: 'spread: 5' })), headline: /^Serving\./, answers: { up: ['well'], changed: ['warn', null, /A newer file is refused/] },
      needs: [/policy\.yaml newer file refused \| .*:\d+:\d+.*spread.*Revision 1 serves on\. \| since \d+\ss \| .*when the file is good/], force: { Policy: /newer file refused/ } },
    { name: 'a valid policy moves a fifth', cause: (stage) => stage.write('policy.yaml', policy({ images: 'key: { host: false }' })), headline: /^Serving\./,
      answers: { ...WELL, changed: ['warn', /^It moved \d+\s% of requests\.$/, /^Revision 2, \d+\ss ago: \d+\s% of images, nothing else\./] } },
    { name: 'a geo file is gone', cause: (stage) => rmSync(stage.path('geo.mmdb')), answers: { up: ['well'] }, needs: [/geo files refused or gone \| .*geo\.mmdb.*The last good ones serve on\. \| since .* \| .*when all files are good/] },
    { name: 'an object is hot', path: '/live', cause: (stage) => stage.traffic({ rate: 150, hot: 0.4 }), hot: /\/live\/final\.m3u8\d+\s%.*on \d+ nodes.*for \d+\s(s|min)/ },
    { name: 'the sidecar is restarted', cause: (stage) => stage.restart(), link: /restarted \d+\ss ago/, answers: { up: ['well'], changed: [null, null, /\d+\ss ago/] } },
  ] },
  // What is usual for a node is learned from a hundred answers within some seconds: few nodes, much traffic.
  { topology: topology(SITES.slice(0, 2)), traffic: { rate: 180 }, scenes: [
    { name: 'one node is slow', warms: true, cause: (stage) => stage.behave(slow), headline: /1 node is slow/, answers: { up: ['well'], slow: ['warn', /^At 1 node\.$/, /ams-3 takes \d+\.?\d*\sms, \d+\.?\d*\sms is usual/] },
      needs: [/ams-3 (weight cut to \d+|slow).* \| Hits take .* is usual.* \| .* \| .*once it is well/], young: /ams-3/ },
  ] },
  { scenes: [
    { name: 'one site is down', warms: true, cause: (stage) => stage.behave(out('mad')), headline: /3 nodes are out/, answers: { up: ['well'], failing: ['bad', /^MAD and 3 nodes\.$/, /MAD is out as a whole/] },
      needs: [/MAD out \| None of its nodes can be used\. ?Its clients are served by the next best site\. \| since \d+\ss \| /], young: /MAD/, absent: [/^mad-\d/],
      // Its nodes are tried every two to four seconds meanwhile, and that changes nothing.
      holds: 15000, also: async (stage) => { const { sites } = await stage.walk.json('/debug/state'); const words = sites.words[sites.id.indexOf('MAD')]; return words === 'out' ? '' : `on the map MAD is "${words}"`; } },
  ] },
  { scenes: [
    { name: 'a site is left because it is slow', warms: true, cause: (stage) => stage.behave({ lhr: { ms: 220 } }), headline: /LHR was left/, answers: { up: ['well'], slow: ['warn', /[Nn]ear LHR/, /LHR was left; its clients go further/] }, needs: [/LHR left, being tried \| Clients were led elsewhere because /] },
  ] },
  { scenes: [
    { name: 'a site sheds load', warms: true, cause: (stage) => stage.load(Object.fromEntries(NODES.map((node) => [node, node.startsWith('waw') ? 0.97 : 0.3]))), headline: /WAW sheds load/, answers: { up: ['well'], slow: ['warn', /[Nn]ear WAW/, /WAW sheds load; its clients go further/] },
      needs: [/WAW \d+\.?\d*\s% of its clients use the next site \| Its nodes are busy: \d+\s% on average/] },
  ] },
  { topology: topology(SITES.slice(0, 2)), scenes: [
    { name: 'a reporter lies', warms: true, cause: (stage) => stage.traffic({ lies: { '127.0.0.4': (line) => ({ ...line, node: line.node.split(', ')[0], status: '503', time_to_first_byte: '0.004' }) } }), headline: /^Serving\. Every node and site is well\.$/, answers: { failing: ['well', /^No\.$/] }, absent: [/its origin should be looked at/],
      needs: [/127\.0\.0\.4 disagrees \| It says \d+\s% of failures at .*; the others agree on .*What it says counts for nothing\. \| since .* \| .*when it says what the others say/] },
  ] },
  { policy: policy({ end: 'otherwise: refuse' }), traffic: { images: 0.5 }, scenes: [
    { name: 'decisions are refused', headline: /^Refusing \d+\.?\d*\s\/s\.$/, answers: { failing: ['bad', /^Decisions are refused\.$/, /of decisions are refused/] } },
  ] },
  { scenes: [
    { name: 'this sidecar may be cut off', warms: true, cause: (stage) => stage.behave({ '*': REFUSED }), headline: /^This sidecar may be cut off; verdicts are frozen\.$/, needs: [/this sidecar perhaps cut off \| .*Verdicts are frozen.* \| since .* \| .*believed again in/] },
  ] },
  { scenes: [{ name: 'a pool is on a lower rung', isProbed: true, headline: /^Serving on a lower rung: pool edge is /, answers: { up: ['warn', /^Yes, on a lower rung\.$/, /On a lower rung: edge/] }, needs: [/pool edge on rung .* \| Too little of it is well: \d+ of \d+ nodes are in use/], force: { Rung: /^lower in 1 part/ } }] },
  { policy: 'spec: {}\n', traffic: null, scenes: [
    { name: 'nothing is in force', headline: /^Nothing is in force: every request is refused\.$/, answers: { up: ['bad', /^No\.$/], failing: ['bad', /^Every request\.$/], changed: ['unknown', /^Nothing has taken effect\.$/] }, needs: [/policy\.yaml .*error.*Nothing is served\./] },
  ] },
  { topology: 'spec: {}\n', scenes: [
    { name: 'no fleet can be used', headline: /^Nothing is in force: every request is refused\.$/, line: /^No decision is made\. \d+\.?\d* \/s are answered without a decision: nothing is in force\.$/, answers: { failing: ['bad', /^Every request\.$/, /answered without a decision/] },
      needs: [/topology\.yaml refused \| .*error.*Nothing is served\./, /policy\.yaml waits for the topology \| It is good/], absent: [/policy\.yaml nothing in force/, /newer file refused/], force: { Policy: /^none in force$/, Fleet: /^none in force$/ } },
  ] },
  { traffic: { tells: false }, scenes: [
    { name: 'a node is drained', path: '/map?site=FRA', warms: true, cause: (stage) => stage.operate('drain', { node: 'fra-1', reason: 'disk swap' }),
      panel: [/^fra-1 ?draining ?disk swap\. By console\. Comes back: when an operator takes it back\..*since \d+ s ago(?!, says).*0 ?weight ?= ?\d+ ?capacity ?× ?1\.00 ?condition ?× ?1\.00 ?ramp ?× ?0 ?drained/] },
  ] },
  { isWithoutGeo: true, traffic: null, scenes: [
    { name: 'it is not ready', headline: /^Not ready: traffic should not come here\.$/, answers: { up: ['bad', /^No\.$/] }, needs: [/geo files refused or gone/] },
  ] },
];

/** A fleet of which most fails its probes: who answers is in this process. */
async function probed() {
  const servers = [];
  const ports = [];
  for (let i = 0; i < NODES.length; i += 1) {
    ports.push(await freePort());
    if (i % 3 === 0) servers.push(http.createServer((_, response) => response.end('ok')).listen(ports[i], '127.0.0.1'));
  }
  return { topology: topology(SITES, 3, (site, node) => `127.0.0.1:${ports[site * 3 + node]}`), policy: policy({ spec: ['probe: { kind: http, path: /, interval: 1s, timeout: 500ms, unhealthy_threshold: 2, healthy_threshold: 2 }'] }), close: () => servers.forEach((one) => { one.close(); one.closeAllConnections(); }) };
}

async function play(walk, act, said) {
  const only = walk.options.scene?.split(',');
  if (only && !act.scenes.some((scene) => only.includes(scene.name))) return;
  const fleet = act.scenes[0].isProbed ? await probed() : {};
  const stage = await Stage.open(walk, { policy: fleet.policy || act.policy || policy(), ...((fleet.topology || act.topology) && { topology: fleet.topology || act.topology }), ...(act.isWithoutGeo && { geo: null }) });
  try {
    if (act.traffic !== null) stage.traffic(act.traffic);
    for (const scene of act.scenes) {
      await stage.walk.check(scene.name, async () => {
        if (scene.warms) await sleep(WARM_MS);
        const page = await stage.walk.page(null, { width: 1100, height: 800 });
        await page.goto(stage.base + (scene.path || '/'));
        await page.waitForSelector(scene.path ? 'main h1' : '.answers .says');
        await sleep(500);
        try {
          await scene.cause?.(stage);
          let seen;
          let lacks = '?';
          const began = Date.now();
          const look = async () => {
            seen = await read(page);
            lacks = [missing(seen, scene, (Date.now() - began) / 1000), await scene.also?.(stage)].filter(Boolean).join('; ');
            return !lacks;
          };
          await walk.until(scene.name, SCENE_MS, look, 300).catch((error) => { throw lacks === '?' ? error : new Error(lacks); });
          const after = Date.now() - began;
          for (const until = Date.now() + (scene.holds || 0); Date.now() < until; await sleep(250)) assert(await look(), `it does not stay so: ${lacks}`);
          await page.mouse.move(0, 0);
          said.push({ scene: scene.name, after_ms: after, ...seen });
          console.log(`  after ${(after / 1000).toFixed(1)} s: ${scene.hot ? seen.hot[0] : [seen.headline, ...Object.values(seen.answers).map((answer) => answer.says), ...seen.needs.filter((row) => row.name !== 'geo.mmdb').slice(0, 2).map((row) => `${row.name} ${row.state}: ${row.why} (${row.since}; ${row.back})`)].join(' / ')}`);
          await page.screenshot({ path: join(walk.pictures, `scene-${scene.name.replaceAll(' ', '-')}.png`), fullPage: true });
          assert(!page.faults.filter((fault) => !/ERR_|Failed to load/.test(fault)).length, page.faults.join('; '));
        } finally {
          await page.done();
        }
      });
    }
  } finally {
    await stage.close();
    fleet.close?.();
  }
}

export default async function scenes(walk) {
  if (!walk.has('tradewind')) return;
  const said = [];
  for (const act of ACTS) await play(walk, act, said);
  writeFileSync(join(walk.pictures, 'scenes.json'), `${JSON.stringify(said, null, 1)}\n`);
}
