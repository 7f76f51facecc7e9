// 18: every site is on the map and in the table, by keyboard too; no two labels overlap; nothing lies outside.

import { assert, sleep, WIDTHS } from '../lib.mjs';

export default async function map(walk) {
  const state = await walk.json('/debug/state');
  for (const tier of new Set(state.sites.tier)) await walk.check(`the table has every site of tier ${state.tiers[tier]}, each a link`, async () => {
    const page = await walk.page(`/map?tier=${encodeURIComponent(state.tiers[tier])}`);
    for (let i = 0; i < 100 && await page.locator('.sites [data-key=more]').count(); i += 1) {
      await page.click('.sites [data-key=more]');
      await page.mouse.move(0, 0);
    }
    const listed = await page.evaluate(() => [...document.querySelectorAll('.sites tbody th a')].map((one) => one.textContent));
    await page.done();
    const missing = state.sites.id.filter((_, i) => state.sites.tier[i] === tier).filter((id) => !listed.includes(id));
    assert(!missing.length, `${missing.length} missing, ${missing[0]}`);
  });
  for (const width of WIDTHS) for (const view of ['', 'Europe', 'Asia', 'Americas']) await walk.check(`labels and discs at ${width} px ${view}`, async () => {
    const page = await walk.page(`/map${view ? `?view=${view}` : ''}`, { width });
    await sleep(600);
    const { boxes, outside, discs, joined } = await page.evaluate(() => {
      const own = document.querySelector('.atlas').getBoundingClientRect();
      const box = (one) => { const { left, top, right, bottom } = one.getBoundingClientRect(); return { left, top, right, bottom, text: one.textContent }; };
      const bodies = [...document.querySelectorAll('.disc .body')].map(box);
      return { boxes: [...document.querySelectorAll('.atlas .label')].map(box), outside: bodies.filter((b) => b.left < own.left - 1 || b.right > own.right + 1 || b.top < own.top - 1 || b.bottom > own.bottom + 1).length,
        discs: bodies.length, joined: [...document.querySelectorAll('.disc .count')].reduce((sum, one) => sum + Number(one.textContent) - 1, 0) };
    });
    await page.done();
    assert(!outside, `${outside} discs lie outside`);
    // A px less each side: a box of text is taller than its letters.
    for (const [i, a] of boxes.entries()) for (const b of boxes.slice(i + 1))
      assert(a.right - 2 <= b.left || b.right - 2 <= a.left || a.bottom - 4 <= b.top || b.bottom - 4 <= a.top, `${a.text} and ${b.text} overlap`);
    if (!view) assert(discs + joined === state.sites.tier.filter((tier) => tier === 0).length, `${discs} discs and ${joined} joined are not all sites`);
  });
  await walk.check('arrows reach every disc', async () => {
    const page = await walk.page('/map');
    await sleep(500);
    const all = await page.locator('.disc').count();
    await page.focus('.disc[tabindex="0"]');
    const seen = new Set();
    for (let i = 0; i < all; i += 1) {
      seen.add(await page.evaluate(() => document.activeElement.dataset.key));
      await page.keyboard.press('ArrowRight');
    }
    await page.done();
    assert(seen.size === all, `${seen.size} of ${all}`);
  });
}
