// 7 and 8, in number: random questions, of which page, gRPC and terminal must say the same; and every change that the page
// says would flip an answer is made, and flips it. On a sidecar of its own with the example fleet, which was told of slow
// and failing nodes and is then left alone, so that nothing moves between three answers. Needs --tradewind.
// --same N questions (40 by default), --flips N changes (6 by default).

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { assert, sleep } from '../lib.mjs';
import { Stage, random } from '../stage.mjs';
import { bare, biased } from './flips.mjs';

const run = promisify(execFile);
const EXAMPLE = new URL('../../../testdata/example/', import.meta.url);
const SEED = 20261128;
const TERMS = ['network', 'service', 'queue', 'miss', 'error', 'cost', 'bias'];
// What a change is larger and smaller by than what the page says, in ms: it says three digits.
const BESIDE_MS = 0.06;
const WARM_MS = 25000;

/** Any question: rules, hosts, clients in the geo file and out of it, what was tried, what is asked for. */
function question(pick) {
  const number = pick(5000);
  const [host, path, query] = [['www.example.com', `/video/${number}.mp4`, 'token=1'], ['www.example.com', `/api/${number}`], ['www.example.com', `/account/${number}`], ['www.example.com', `/images/${number}`, `w=${number % 3}&x=1`],
    ['s3.static.example.com', `/${number}`], ['other.example.org', `/${number}`, pick(2) ? 'a=b' : ''], ['www.example.com', `/videos/${number}`]][pick(7)];
  const [net, last] = [pick(110), 1 + pick(250)];
  const ip = [`192.0.2.${last}`, `203.0.113.${last}`, `2001:db8:${net.toString(16)}::${last.toString(16)}`, `198.18.${net}.${last}`][[0, 1, 2, 2, 3, 3, 3, 3, 3, 3][pick(10)]];
  const asked = { host, path, ...(query && { query }), client: ip };
  if (pick(12) === 0) Object.assign(asked, { lat: '40.7', lon: '-74' });
  if (pick(12) === 0) asked.country = 'FR';
  if (pick(10) === 0) asked.method = pick(2) ? 'POST' : 'HEAD';
  if (pick(4) === 0) asked.candidates = String(1 + pick(8));
  if (pick(5) === 0) asked.tried = ['lhr-2', 'cdg-2', 'fra-2', 'ams-2', 'mad-2', 'lhr-3', 'fra-1'].slice(0, 1 + pick(7)).join(',');
  if (pick(15) === 0) asked.class = ['page', 'image', 'video'][pick(3)];
  if (pick(20) === 0) asked.pool = ['edge', 'regional', 'edge-any', 'nowhere'][pick(4)];
  return asked;
}

/** The same as arguments of `tradewind route`. */
const words = (asked) => Object.entries(asked).flatMap(([name, value]) => (name === 'path' ? [value] : [`--${name}=${value}`]));

// What is of the moment, and not of the question.
const MOMENT = new Set(['decision_id', 'snapshot_generation', 'age_ms', 'since_ms', 'retry_ms', 'server_time', 'decided_at']);

/** An answer in one form: without what is of the moment, and without what is not said. */
function plain(value) {
  if (value === 0) return undefined;
  if (Array.isArray(value)) return value.length ? value.map(plain) : undefined;
  if (value && typeof value === 'object') {
    const kept = Object.entries(value).filter(([name]) => !MOMENT.has(name)).map(([name, of]) => [name, plain(of)]).filter(([, of]) => of !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
    return kept.length ? Object.fromEntries(kept) : undefined;
  }
  return value === '' || value === null || value === false ? undefined : value;
}

// The debug door writes six digits of a number.
const DIGITS = 5.1e-6;

/** The first place where two answers differ, in words; empty if they do not. */
function difference(a, b, where = '') {
  if (typeof a === 'number' && typeof b === 'number') return Math.abs(a - b) <= Math.max(Math.abs(a), Math.abs(b)) * DIGITS ? '' : `${where}: ${a} and ${b}`;
  if (!a || !b || typeof a !== 'object' || typeof b !== 'object') return a === b ? '' : `${where}: ${JSON.stringify(a)} and ${JSON.stringify(b)}`;
  for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const found = difference(a[name], b[name], `${where}.${name}`);
    if (found) return found;
  }
  return '';
}

/** What the page shows of its answer. */
const shown = (page) => page.evaluate(() => ({
  headline: document.getElementById('answer').textContent, because: document.getElementById('because').textContent,
  rows: [...document.querySelectorAll('.bill li')].map((row) => ({ site: row.dataset.site, total: row.querySelector('.total').firstChild.textContent, bars: [...row.querySelectorAll('.bars i')].map((bar) => ({ term: /term-(\w+)/.exec(bar.className)[1], width: bar.getBoundingClientRect().width })) })),
  list: [...document.querySelectorAll('.fall tr')].map((row) => row.querySelector('th').textContent), roles: [...document.querySelectorAll('.fall tr')].map((row) => row.cells[2].title),
  measure: document.querySelector('.measured')?.textContent || '', race: [...document.querySelectorAll('.race tbody tr')].map((row) => [row.querySelector('th strong').textContent, row.cells[3].textContent, row.cells[3].querySelector('[title]')?.title || '']),
}));

/** Asks on the page, without loading it anew. */
async function ask(page, asked) {
  const to = `/explain?${new URLSearchParams(asked)}`;
  const [response] = await Promise.all([page.waitForResponse((one) => one.url().includes('/debug/explain?')), page.evaluate((detail) => {
    const before = document.getElementById('answer');
    if (before) before.id = 'answer-before';
    document.dispatchEvent(new CustomEvent('console:go', { detail }));
  }, to)]);
  const told = await response.json();
  assert(response.ok(), told.error);
  await page.waitForSelector('#answer');
  return told;
}

const total = (ms) => (Math.abs(ms) < 0.995 ? null : Math.abs(ms) < 99.95 ? ms.toFixed(1) : Math.round(ms).toLocaleString('en-US'));
// A digit may fall to either side of a rounding: the answer has six, the terminal all.
const near = (text, ms) => Math.abs(Number(text.replaceAll(',', '')) - ms) <= (ms < 99.95 ? 0.0501 : 0.501);

/** What of the answer the page does not show as it was told, in words. */
function misshown({ decision, explanation }, seen) {
  if (seen.headline !== explanation.headline || seen.because !== explanation.why) return `the page says "${seen.headline} ${seen.because}"`;
  const sites = explanation.sites || [];
  const first = sites.slice(0, 10);
  if (seen.rows.slice(0, first.length).map((row) => row.site).join() !== first.map((site) => site.site).join()) return `sites ${seen.rows.map((row) => row.site)}`;
  const widths = [];
  for (const row of seen.rows) {
    const site = sites.find((one) => one.site === row.site);
    if (total(site.total_ms) !== null && !near(row.total, site.total_ms)) return `${row.site} ${row.total} instead of ${site.total_ms}`;
    if (row.bars.map((bar) => bar.term).join() !== TERMS.filter((term) => site[`${term}_ms`]).join()) return `${row.site} shows ${row.bars.map((bar) => bar.term)}`;
    widths.push(...row.bars.map((bar) => [bar.width, Math.abs(site[`${bar.term}_ms`]), `${bar.term} of ${row.site}`]));
  }
  const scale = widths.reduce((sum, [width]) => sum + width, 0) / widths.reduce((sum, [, ms]) => sum + ms, 0);
  const off = widths.find(([width, ms]) => Math.abs(width - ms * scale) > 1);
  if (off) return `${off[2]} is ${off[0].toFixed(1)} px wide instead of ${(off[1] * scale).toFixed(1)}`;
  const candidates = decision.candidates || [];
  if (seen.list.join() !== candidates.map((one) => one.node).join()) return `falls back to ${seen.list}`;
  if (seen.roles.join() !== candidates.map((one) => one.role).join()) return `roles ${seen.roles}`;
  for (const [name, , why] of seen.race) {
    const node = (explanation.nodes || []).find((one) => one.node === name);
    if (why && why !== node.eliminated) return `${name} is left out for ${why} instead of ${node.eliminated}`;
  }
  return '';
}

/** What of the answer the terminal does not say, in words. */
function unsaid({ decision, explanation }, text) {
  const lines = text.split('\n');
  const verdict = `${decision.verdict === 'VERDICT_REFUSE' ? 'refuse' : 'route'}: ${decision.rule ? `rule \`${decision.rule}\`` : 'no rule'}, ${decision.reason}, ${decision.purity}, rung ${decision.rung}`;
  if (lines[0] !== verdict) return `the terminal says "${lines[0]}" instead of "${verdict}"`;
  for (const line of [`${explanation.headline} ${explanation.why}`, ...(explanation.summary || []).map((line) => `- ${line}`)]) if (!lines.includes(line)) return `the terminal does not say "${line}"`;
  const row = (...cells) => lines.find((line) => { const own = line.trim().split(/\s+/); return cells.every((cell, i) => cell === own[i]); });
  for (const [i, one] of (decision.candidates || []).entries()) if (!row(String(i + 1), one.node, one.address, one.site)) return `the terminal has no ${one.node} at place ${i + 1}`;
  for (const site of explanation.sites || []) {
    const cells = lines.map((line) => line.trim().split(/\s+/)).find((own) => own[0] === site.site && own.length >= 2 + TERMS.length + 2 && own[1] !== 'service');
    if (!cells) return `the terminal has no row of ${site.site}`;
    for (const [i, value] of [...TERMS.map((term) => site[`${term}_ms`] || 0), site.total_ms].entries()) if (Math.abs(Number(cells[2 + i]) - value) > 0.0502) return `${site.site}: ${cells[2 + i]} in the terminal instead of ${value}`;
    if (!cells.includes(site.standing)) return `${site.site} is not ${site.standing} in the terminal`;
  }
  return '';
}

async function told(stage, asked, format) {
  const { stdout } = await run(stage.walk.options.tradewind, ['route', ...words(asked), '--explain', '--format', format, '--server', `127.0.0.1:${stage.ports.listen}`], { maxBuffer: 1 << 24 })
    // 1 stands for a request that is refused: an answer like others.
    .catch((error) => { if (error.code === 1) return error; throw error; });
  return stdout;
}

/** What the page says would flip an answer, as a change of one site: `{ kind, site, ms, holds(explanation) }`. */
function flip({ explanation }, seen) {
  const { sites = [], runner_up_site: runner, flip_ms: slower, joining_site: joining, join_ms: faster } = explanation;
  const said = / would win if (\S+) were ([\d.,]+)\sms slower/.exec(seen.measure);
  if (said && runner) return { kind: 'wins', site: said[1], runner, ms: slower, sign: 1, holds: (after) => after.sites[0].site === runner };
  const shares = /^(\S+) would share it if it were ([\d.,]+)\sms faster/.exec(seen.measure);
  if (shares && joining) return { kind: 'shares', site: joining, runner: joining, ms: faster, sign: -1, holds: (after) => ['in_scope', 'sharing'].includes(after.sites.find((one) => one.site === joining)?.standing) };
  assert(!sites.length || !/slower|faster/.test(seen.measure), `not understood: ${seen.measure}`);
  return null;
}

export default async function same(walk) {
  if (!walk.has('tradewind')) return;
  // More sites share than in the example, so that there are flips of that kind too.
  const text = bare(readFileSync(new URL('policy.yaml', EXAMPLE), 'utf8')).replace('spread: 3ms', 'spread: 12ms').replace(/^spec:$/m, 'spec:\n  slow_start_window: 0ms\n  signals: { load: { max_age: 1h }, latency: { max_age: 1h }, hit: { max_age: 1h }, health: { max_age: 1h } }');
  const stage = await Stage.open(walk, { policy: text, topology: readFileSync(new URL('topology.yaml', EXAMPLE), 'utf8') });
  const pick = random(SEED);
  console.log(`  seed ${SEED}`);
  try {
    stage.behave({ ams: { ms: 25 }, 'fra-2': { ms: 40 }, 'cdg-1': { refuses: true }, lhr: { ms: 18 }, mad: { ms: 5 } });
    stage.traffic({ rate: 150, client: (one) => `198.18.${one(110)}.${1 + one(250)}`, paths: (one) => [`/video/${one(500)}.mp4`, `/images/${one(500)}?w=1`, `/page/${one(500)}`][one(3)] });
    await sleep(WARM_MS);
    stage.quiet();
    // A round of what was told last, and what rests on it.
    await sleep(12000);
    const page = await stage.walk.page('/explain');
    const count = Number(walk.options.same || 40);
    const flips = new Map();
    const met = { refused: 0, shared: 0, tried: 0, evidence: 0, again: 0 };
    await walk.check(`${count} questions: page, gRPC and terminal say the same`, async () => {
      for (let i = 0; i < count; i += 1) {
        const asked = question(pick);
        let wrong = '?';
        // While a number of the snapshot moves, three answers may be of two snapshots: then they are asked again.
        for (let tries = 0; wrong && tries < 8; tries += 1) {
          if (tries) { met.again += 1; await sleep(200); }
          const [own, json, lines] = await Promise.all([ask(page, asked), told(stage, asked, 'json').then(JSON.parse), told(stage, asked, 'text')]);
          const seen = await shown(page);
          wrong = difference(plain(own), plain(json)) || misshown(own, seen) || unsaid(own, lines);
          if (wrong) continue;
          const change = flip(own, seen);
          const key = change && `${change.kind} ${change.site} ${change.runner}`;
          if (change && !flips.has(key)) flips.set(key, { ...change, asked });
          met.refused += own.decision.verdict === 'VERDICT_REFUSE' ? 1 : 0;
          met.shared += change?.kind === 'shares' ? 1 : 0;
          met.tried += asked.tried ? 1 : 0;
          met.evidence += own.explanation.sites?.some((site) => Object.values(site.evidence || {}).some((one) => one.samples > 0)) ? 1 : 0;
        }
        assert(!wrong, `question ${i + 1}, ${JSON.stringify(asked)}: ${wrong}`);
      }
    });
    console.log(`  refused ${met.refused}, shared ${met.shared}, with nodes tried ${met.tried}, resting on what was told ${met.evidence}, asked again ${met.again}; ${flips.size} different flips`);
    await carryOut(walk, stage, page, text, [...flips.values()]);
    await page.done();
  } finally {
    await stage.close();
  }
}

/** Makes each change a little smaller than the page says, which must do nothing, and a little larger, which must do it. */
async function carryOut(walk, stage, page, text, all) {
  // Both kinds as equally as there are.
  const kinds = ['wins', 'shares'].map((kind) => all.filter((one) => one.kind === kind));
  const half = Number(walk.options.flips || 6) / 2;
  const take = async (changed) => {
    const { revision } = await stage.overview();
    stage.write('policy.yaml', changed);
    await stage.until('the policy is in force', 10000, async () => (await stage.overview()).revision !== revision);
  };
  for (const kind of ['wins', 'shares']) if (!all.some((one) => one.kind === kind)) walk.skip(`flips (${kind})`, 'no question has one');
  for (const [kind, changes] of [['wins', kinds[0].slice(0, Math.max(half, 2 * half - kinds[1].length))], ['shares', kinds[1].slice(0, Math.max(half, 2 * half - kinds[0].length))]].filter(([, changes]) => changes.length)) {
    await walk.check(`${changes.length} flips (${kind}): the change that is named does it, a smaller one does not`, async () => {
      for (const { asked, site, runner, ms, sign, holds } of changes) {
        for (const [beside, isExpected] of [[-BESIDE_MS, false], [BESIDE_MS, true]]) {
          if (ms + beside <= 0) continue;
          await take(biased(text, site, sign * (ms + beside)));
          const { explanation } = await ask(page, asked);
          assert(holds(explanation) === isExpected, `${JSON.stringify(asked)}: ${site} by ${(sign * (ms + beside)).toFixed(2)} ms ${isExpected ? 'does not bring' : 'already brings'} ${runner}`);
        }
      }
    });
  }
  if (all.length) await take(text);
}
