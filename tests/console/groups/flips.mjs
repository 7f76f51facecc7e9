// 8: the change that the measure names, put into the policy as a bias, does what was said. Needs --policy.

import { readFileSync, writeFileSync } from 'node:fs';
import { assert, sleep } from '../lib.mjs';
import { ask, questions } from './explain.mjs';

// What was measured may tremble by this while the policy is taken, in ms.
const TREMBLE_MS = 1;

/** The policy without the examples of its rules, which would refuse a change that moves them. */
export function bare(text) {
  let deeper = -1;
  return text.split('\n').filter((line) => {
    const indent = line.search(/\S/);
    if (indent >= 0 && indent <= deeper) deeper = -1;
    if (deeper < 0 && /^\s*examples:/.test(line)) { deeper = indent; return false; }
    return deeper < 0;
  }).join('\n');
}

/** The policy with one bias more, or null where it has biases already. */
export function biased(text, site, ms) {
  if (/^\s*bias:/m.test(text)) return null;
  const line = `bias: [{ site: ${site}, ms: ${ms.toFixed(2)} }]`;
  if (/^ {2}score:\s*$/m.test(text)) return text.replace(/^ {2}score:\s*$/m, `  score:\n    ${line}`);
  return /^ {2}score:/m.test(text) ? null : text.replace(/^spec:\s*$/m, `spec:\n  score: { ${line} }`);
}

export default async function flips(walk) {
  if (!walk.has('policy')) return;
  const file = walk.options.policy;
  const before = readFileSync(file, 'utf8');
  const page = await walk.page(null);
  const take = async (text) => {
    const { revision } = await walk.json('/debug/overview');
    writeFileSync(file, text);
    await sleep(50);
    await walk.until('the file is in force', 10000, async () => (await walk.json('/debug/overview')).revision !== revision, 100);
    await sleep(200);
  };
  const kinds = new Map();
  for (const question of questions(60)) {
    const { told, shown } = await ask(walk, page, question);
    const { runner_up_site: runner, flip_ms: flip, joining_site: joining, join_ms: join } = told.explanation || {};
    if (runner && flip > 0 && !kinds.has('one')) kinds.set('one', { question, told, shown });
    if (joining && join > 0 && !kinds.has('several')) kinds.set('several', { question, told, shown });
  }
  if (!kinds.size) walk.skip('flips', 'no question has one');
  for (const [kind, { question, told, shown }] of kinds) await walk.check(`the change that would flip it does (${kind})`, async () => {
    const { runner_up_site: runner, flip_ms: flip, joining_site: joining, join_ms: join, sites } = told.explanation;
    const isOne = kind === 'one';
    assert(shown.says.includes(isOne ? runner : joining), `the page says "${shown.says}"`);
    const text = isOne ? biased(bare(before), sites[0].site, flip + TREMBLE_MS) : biased(bare(before), joining, -(join + TREMBLE_MS));
    assert(text, 'the policy has biases already, or none can be put in');
    try {
      await take(text);
      const { told: after } = await ask(walk, page, question);
      const row = after.explanation.sites.find((site) => site.site === joining);
      if (isOne) assert(after.explanation.sites[0].site === runner, `${after.explanation.sites[0].site} is first, not ${runner}`);
      else assert(['in_scope', 'sharing'].includes(row?.standing), `${joining} is ${row?.standing}`);
    } finally {
      await take(before);
    }
  });
  await page.done();
}
