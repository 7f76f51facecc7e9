// 3: what the first view loads, how soon it is there, and how many elements the pages have.

import { assert, sleep, PAGES } from '../lib.mjs';

const MOST_BYTES = 200_000;
const MOST_MS = 300;
const MOST_ELEMENTS = 1500;

/** When the headline and the four answers were there, in ms since the page was asked for: the frame after. */
const ANSWERED = () => {
  const watch = new MutationObserver(() => {
    const says = document.querySelector('.answers .says')?.textContent;
    if (!says || says === '…' || window.answeredAt) return;
    window.answeredAt = -1;
    requestAnimationFrame(() => setTimeout(() => { window.answeredAt = performance.now(); }));
    watch.disconnect();
  });
  watch.observe(document, { childList: true, subtree: true, characterData: true });
};

export default async function sizes(walk) {
  await walk.check(`the shell has at most ${MOST_BYTES} bytes`, async () => {
    const page = await walk.page(null);
    const bodies = [];
    page.on('response', (response) => { if (!response.url().includes('/debug/')) bodies.push(response.body().then((body) => [new URL(response.url()).pathname, body.length])); });
    await walk.visit(page, '/');
    const parts = await Promise.all(bodies);
    await page.done();
    const bytes = parts.reduce((sum, [, length]) => sum + length, 0);
    console.log(`  ${bytes} bytes in ${parts.length} requests: ${parts.map(([path, length]) => `${path} ${length}`).join(', ')}`);
    assert(bytes <= MOST_BYTES, `${bytes} bytes`);
  });
  await walk.check(`the first view comes within ${MOST_MS} ms`, async () => {
    // The best of five: whatever else the machine does must not be what is measured.
    const taken = [];
    for (let i = 0; i < 5; i += 1) {
      const page = await walk.page('/', { init: ANSWERED });
      taken.push(await page.evaluate(() => [performance.getEntriesByName('first-contentful-paint')[0]?.startTime, window.answeredAt]));
      await page.done();
      await sleep(100);
    }
    const best = Math.min(...taken.map(([, answered]) => answered));
    console.log(`  first paint, and the four answers: ${taken.map((times) => times.map((ms) => Math.round(ms)).join(' and ')).join(', ')} ms`);
    assert(best <= MOST_MS * walk.slow, `${Math.round(best)} ms`);
  });
  for (const path of PAGES) await walk.check(`${path} has at most ${MOST_ELEMENTS} elements`, async () => {
    const page = await walk.page(path);
    await sleep(1500);
    const count = await page.evaluate(() => document.querySelectorAll('*').length);
    await page.done();
    assert(count <= MOST_ELEMENTS, `${count}`);
  });
}
