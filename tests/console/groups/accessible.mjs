// 2: axe, over all pages in both themes and widths. Anything serious fails; what is less is printed.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { PAGES, WIDTHS, THEMES, QUESTION, assert } from '../lib.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

export default async function accessible(walk) {
  const state = await walk.json('/debug/state').catch(() => null);
  const site = state?.sites?.id?.[0];
  for (const path of [...PAGES, QUESTION, ...(site ? [`/map?site=${encodeURIComponent(site)}`] : [])]) for (const width of WIDTHS) for (const theme of THEMES) {
    await walk.check(`${path} at ${width} px, ${theme}`, async () => {
      const page = await walk.page(path, { width, theme });
      const found = await page.evaluate(`(async () => { ${AXE}; return (await axe.run(document, { runOnly: ${JSON.stringify(TAGS)} })).violations; })()`);
      await page.done();
      const said = found.map((one) => `${one.impact} ${one.id} at ${one.nodes[0].target}`);
      if (said.length) console.log(`  ${said.join('; ')}`);
      assert(!found.some((one) => ['serious', 'critical'].includes(one.impact)), said.join('; '));
    });
  }
}
