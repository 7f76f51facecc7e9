// 20: a picture of every page in both themes and widths, for a person to look at.

import { join } from 'node:path';
import { PAGES, WIDTHS, THEMES, QUESTION, sleep } from '../lib.mjs';

export default async function pictures(walk) {
  await walk.check('every page is pictured', async () => {
    const state = await walk.json('/debug/state').catch(() => null);
    const site = state?.sites?.id?.[0];
    const all = [...PAGES.map((path) => [path === '/' ? 'overview' : path.slice(1), path]), ['explain-answer', QUESTION], ...(site ? [['map-site', `/map?site=${encodeURIComponent(site)}`]] : [])];
    for (const [name, path] of all) for (const width of WIDTHS) for (const theme of THEMES) {
      const page = await walk.page(path, { width, theme });
      await sleep(700);
      await page.screenshot({ path: join(walk.pictures, `${name}-${theme}-${width}.png`), fullPage: true });
      await page.done();
    }
  });
}
