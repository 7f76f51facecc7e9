// 13: a file that is refused is told whole, with line and column, while the one before serves on. Needs --policy.

import { readFileSync, writeFileSync } from 'node:fs';
import { assert } from '../lib.mjs';

export default async function refused(walk) {
  if (!walk.has('policy')) return;
  const file = walk.options.policy;
  const before = readFileSync(file, 'utf8');
  const page = await walk.page('/policy');
  try {
    await walk.check('every fault of a refused file is on Policy, and it is in the fourth answer', async () => {
      const { revision } = await walk.json('/debug/overview');
      writeFileSync(file, `${before}\nno_such_field: 1\n`);
      const { refused: told } = await walk.until('the file is refused', 10000, async () => { const got = await walk.json('/debug/policy'); return got.refused && got; }, 200);
      await page.waitForSelector('.notice.warn pre');
      const said = await page.textContent('.notice.warn pre');
      for (const fault of told.faults) assert(said.includes(fault), `not said: ${fault}`);
      assert(/:\d+:\d+/.test(said), 'it has no line and column');
      if (told.text != null) {
        await page.click('[data-key=compare-refused]');
        await page.waitForSelector('.compared .add');
        assert((await page.textContent('.compared')).includes('no_such_field'), 'the comparison does not show it');
      } else walk.skip('comparing', 'the text that is refused is not told');
      const overview = await walk.json('/debug/overview');
      assert(overview.revision === revision, 'the revision went on');
      assert(overview.needs.some((need) => need.kind === 'policy') && overview.answers[3].mark !== 'well', 'Overview is silent');
    });
  } finally {
    writeFileSync(file, before);
  }
  await walk.check('it is gone when the file is good', async () => {
    await page.mouse.move(0, 0);
    await page.waitForSelector('.notice.warn pre', { state: 'detached' });
  });
  await page.done();
}
