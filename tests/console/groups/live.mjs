// 14: the tail filters, pause holds the view, never more than 50 rows, older ones by pages.

import { assert, sleep } from '../lib.mjs';

const numbers = (page) => page.evaluate(() => [...document.querySelectorAll('.tail tbody tr')].map((row) => Number(row.dataset.number)));

export default async function live(walk) {
  const { decisions } = await walk.json('/debug/decisions?limit=50');
  if (!decisions.length) return walk.skip('the tail', 'no decision is kept');
  const page = await walk.page('/live');
  await walk.check('newest first, no row twice, at most 50', async () => {
    for (let i = 0; i < 4; i += 1) {
      const shown = await numbers(page);
      assert(shown.length > 0 && shown.length <= 50, `${shown.length} rows`);
      assert(new Set(shown).size === shown.length, 'a row stands twice');
      assert(shown.every((number, at) => !at || number < shown[at - 1]), 'not newest first');
      await sleep(800);
    }
  });
  await walk.check('pause holds the view, and goes on', async () => {
    await page.click('.pause');
    const before = await numbers(page);
    await sleep(3500);
    assert((await numbers(page)).join() === before.join(), 'rows changed');
    await page.click('.pause');
  });
  await walk.check('filters hold for every row', async () => {
    const { reason, rule } = decisions[0];
    await walk.visit(page, `/live?reason=${reason}&rule=${rule}`);
    await page.waitForSelector('.tail tbody tr');
    await sleep(2500);
    const wrong = await page.evaluate(([why, name]) => [...document.querySelectorAll('.tail tbody tr')].find((row) => row.querySelector('.why').title !== why || row.querySelector('.rule').textContent !== name)?.textContent, [reason, rule]);
    assert(!wrong, wrong);
  });
  await walk.check('nothing that matches is said with what was looked through', async () => {
    await walk.visit(page, '/live?contains=no-such-thing-anywhere');
    await page.waitForSelector('.empty');
    assert(/None of the .* kept match/.test(await page.textContent('.empty')), await page.textContent('.empty'));
  });
  await walk.check('older ones come by pages', async () => {
    const all = await walk.json('/debug/decisions?limit=50');
    if (all.older_before == null) return;
    await walk.visit(page, '/live');
    const least = Math.min(...(await numbers(page)));
    await page.evaluate(() => [...document.querySelectorAll('a')].find((one) => one.textContent === 'Older').click());
    await page.waitForURL(/before=/);
    await sleep(800);
    const older = await numbers(page);
    assert(older.length && Math.max(...older) <= least + 50, `${older[0]} after ${least}`);
    assert(await page.isVisible('.fresh'), 'no way back to the newest');
  });
  await page.done();
}
