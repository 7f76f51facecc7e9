// 10: the five walks by keyboard only; focus is seen, and stays where it is while the page goes on.

import { assert, sleep, PAGES } from '../lib.mjs';

const focused = (page) => page.evaluate(() => {
  const at = document.activeElement;
  return { tag: at.tagName, key: at.dataset?.key, href: at.getAttribute('href'), id: at.id, text: at.textContent.slice(0, 40), name: at.getAttribute('name') };
});

/** Presses Tab until it holds, at most `most` times. */
async function tab(page, holds, most = 60) {
  for (let i = 0; i < most; i += 1) {
    await page.keyboard.press('Tab');
    const at = await focused(page);
    if (holds(at)) return at;
  }
  throw new Error(`not reached by ${most} tabs`);
}

export default async function keyboard(walk) {
  const state = await walk.json('/debug/state');
  await walk.check('the skip link comes first, then the tabs', async () => {
    const page = await walk.page('/');
    await page.keyboard.press('Tab');
    assert((await focused(page)).href === '#main', 'the first stop is no skip link');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    assert((await focused(page)).text === 'Overview', 'the tabs do not follow');
    await page.done();
  });
  await walk.check('asking: 3, URL, client, Enter', async () => {
    const page = await walk.page('/');
    await page.keyboard.press('3');
    await page.waitForSelector('#ask-url');
    await page.focus('#ask-url');
    await page.keyboard.type('https://www.example.com/page/12');
    await page.keyboard.press('Tab');
    await page.keyboard.type('198.18.13.7');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#answer');
    assert((await focused(page)).id === 'answer', 'focus does not go to the answer');
    await page.done();
  });
  await walk.check('a decision: 5, Tab to a row, Enter', async () => {
    const page = await walk.page('/');
    await page.keyboard.press('5');
    await page.waitForSelector('.tail tbody tr a');
    const at = await tab(page, (now) => now.href?.startsWith('/explain?id='));
    assert(at, 'no row is reached');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#answer');
    assert((await page.textContent('main')).includes('As it was at'), 'it does not say as of when');
    await page.done();
  });
  await walk.check('a site: 2, arrows on the map, Enter, Esc', async () => {
    const page = await walk.page('/');
    await page.keyboard.press('2');
    await page.waitForSelector('.disc');
    await sleep(500);
    await tab(page, (now) => now.tag === 'a');
    const first = (await focused(page)).key;
    await page.keyboard.press('ArrowRight');
    const second = (await focused(page)).key;
    assert(second && second !== first, 'the arrow goes nowhere');
    await page.keyboard.press('Tab');
    assert((await focused(page)).tag !== 'a', 'the map is more than one stop');
    // Where discs are joined Enter goes nearer: as often as it takes.
    await page.keyboard.press('Shift+Tab');
    for (let i = 0; i < 8 && !(await page.isVisible('.panel')); i += 1) {
      await page.keyboard.press('Enter');
      await sleep(400);
      if (!(await page.isVisible('.panel'))) await page.focus('.disc[tabindex="0"]');
    }
    await page.waitForSelector('.panel .node');
    assert((await focused(page)).id === 'site-head', 'focus does not go to the heading');
    await page.keyboard.press('Escape');
    await page.waitForSelector('.panel', { state: 'hidden' });
    const back = await focused(page);
    assert(back.tag === 'a' || back.tag === 'A', `focus comes back to ${back.tag}`);
    await page.done();
  });
  await walk.check('find: /, a name, Enter', async () => {
    const page = await walk.page('/map');
    await page.keyboard.press('/');
    assert((await focused(page)).id === 'find', 'it is not focused');
    await page.keyboard.type(state.nodes.id[0]);
    await page.keyboard.press('Enter');
    await page.waitForSelector(`[id="node-${state.nodes.id[0]}"]`);
    await page.done();
  });
  await walk.check('help: ?, and keys can be turned off', async () => {
    const page = await walk.page('/');
    await page.keyboard.press('?');
    await page.waitForSelector('dialog[open]');
    await page.uncheck('#keys-on');
    await page.keyboard.press('Escape');
    await page.keyboard.press('5');
    await sleep(300);
    assert(new URL(page.url()).pathname === '/', 'a key acted though they are off');
    await page.done();
  });
  await walk.check('the log reads its values by arrows', async () => {
    const page = await walk.page('/');
    await page.waitForSelector('.log');
    await page.focus('.logbox');
    await page.keyboard.press('ArrowLeft');
    assert(/Decisions/.test(await page.getAttribute('.logbox', 'aria-valuetext')), 'it says nothing');
    await page.done();
  });
  for (const path of PAGES) await walk.check(`focus is seen at every stop of ${path}`, async () => {
    const page = await walk.page(path);
    for (let i = 0; i < 40; i += 1) {
      await page.keyboard.press('Tab');
      const unseen = await page.evaluate(() => {
        const at = document.activeElement;
        if (at === document.body) return null;
        const style = getComputedStyle(at);
        const hit = at.querySelector?.('.hit');
        const isSeen = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) || (hit && getComputedStyle(hit).stroke !== 'none');
        return isSeen ? null : at.outerHTML.slice(0, 100);
      });
      assert(!unseen, unseen);
    }
    await page.done();
  });
  await walk.check('focus stays while the page goes on', async () => {
    for (const [path, selector] of [['/', '.answers a, .needs a'], ['/map', '.sites tbody a'], ['/live', '.tail tbody a']]) {
      const page = await walk.page(path);
      if (await page.locator(selector).count()) {
        await page.focus(selector);
        const before = await focused(page);
        await sleep(4000);
        const after = await focused(page);
        assert(before.href === after.href, `${path}: from ${before.href} to ${after.tag} ${after.href}`);
      }
      await page.done();
    }
  });
}
