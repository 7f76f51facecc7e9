// 1: no complaint, no report of the policy of the page, nothing asked elsewhere, no sideways scroll, also at 320 px.

import { PAGES, THEMES, QUESTION, assert } from '../lib.mjs';

export default async function clean(walk) {
  for (const path of [...PAGES, QUESTION]) for (const width of [1280, 390, 320]) {
    for (const theme of width === 320 ? ['light'] : THEMES) {
      await walk.check(`${path} at ${width} px, ${theme}`, async () => {
        const page = await walk.page(path, { width, theme });
        const [whole, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        await page.done();
        assert(!page.faults.length, page.faults.join('; '));
        assert(whole === seen, `scrolls sideways: ${whole} of ${seen} px`);
      });
    }
  }
  await walk.check('headers of shell and module', async () => {
    for (const path of ['/', '/console/main.js', '/debug/overview']) {
      const { headers } = await walk.raw('GET', path);
      const csp = headers['content-security-policy'] || '';
      for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"])
        assert(csp.includes(part), `${path} has no ${part}`);
      assert(headers['x-content-type-options'] === 'nosniff', `${path} may be sniffed`);
      assert(headers['referrer-policy'] === 'no-referrer', `${path} tells where one came from`);
    }
  });
}
