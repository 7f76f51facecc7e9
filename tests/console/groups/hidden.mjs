// 17: a tab that is hidden holds no stream, and takes it up again when it is seen.

import { assert, sleep } from '../lib.mjs';

// A headless browser shows every tab: what the page asks for is told otherwise, and its streams are kept in view.
const WATCH = () => {
  const streams = [];
  const Own = window.EventSource;
  window.EventSource = class extends Own { constructor(...args) { super(...args); streams.push(this); } };
  let isHidden = false;
  Object.defineProperty(document, 'hidden', { get: () => isHidden });
  Object.defineProperty(document, 'visibilityState', { get: () => (isHidden ? 'hidden' : 'visible') });
  window.hide = (hides) => { isHidden = hides; document.dispatchEvent(new Event('visibilitychange')); };
  window.openStreams = () => streams.filter((stream) => stream.readyState !== Own.CLOSED).length;
};

export default async function hidden(walk) {
  await walk.check('one stream a tab, on every page', async () => {
    const page = await walk.page('/', { init: WATCH });
    for (const path of ['/map', '/live', '/policy', '/']) {
      await page.click(`#tabs a[href="${path}"]`);
      await sleep(600);
      const open = await page.evaluate(() => window.openStreams());
      assert(open === 1, `${open} streams at ${path}`);
    }
    await page.done();
  });
  await walk.check('none while hidden, one again when seen', async () => {
    const page = await walk.page('/', { init: WATCH });
    await page.evaluate(() => window.hide(true));
    await sleep(1500);
    assert(await page.evaluate(() => window.openStreams()) === 0, 'it holds a stream');
    await sleep(3000);
    await page.evaluate(() => window.hide(false));
    await sleep(1500);
    assert(await page.evaluate(() => window.openStreams()) === 1, 'it does not take it up again');
    assert(await page.locator('[role=alert]').count() === 0, 'it says that the sidecar was lost');
    await page.done();
  });
}
