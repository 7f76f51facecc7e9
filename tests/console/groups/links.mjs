// 9: every view is a link that restores it, and Back goes back.

import { assert } from '../lib.mjs';

export default async function links(walk) {
  const state = await walk.json('/debug/state');
  const site = state.sites.id[0];
  const node = state.nodes.id[0];
  const page = await walk.page('/');
  await walk.check('a site', async () => {
    await walk.visit(page, `/map?site=${encodeURIComponent(site)}`);
    await page.waitForSelector('.panel .node');
    assert((await page.textContent('#site-head')).startsWith(site), 'another site is open');
  });
  await walk.check('a node opens its site', async () => {
    await walk.visit(page, `/map?node=${encodeURIComponent(node)}`);
    await page.waitForSelector(`[id="node-${node}"]`);
  });
  await walk.check('a sorted table of a tier', async () => {
    const tier = state.tiers.at(-1);
    await walk.visit(page, `/map?tier=${tier}&sort=site`);
    assert((await page.textContent('.bar [aria-pressed="true"][data-key="' + tier + '"]')).startsWith(tier), 'the tier is not chosen');
    assert(await page.getAttribute('.sites th:first-child', 'aria-sort') === 'ascending', 'it is not sorted');
  });
  await walk.check('filters of Live', async () => {
    await walk.visit(page, '/live?reason=owner&contains=seg');
    assert(await page.inputValue('[name=reason]') === 'owner' && await page.inputValue('[name=contains]') === 'seg', 'they are not set');
  });
  await walk.check('the range of the log', async () => {
    await walk.visit(page, '/?range=1h');
    assert(await page.getAttribute('[data-range="1h"]', 'aria-pressed') === 'true', 'it is not chosen');
  });
  await walk.check('Back closes a site, and goes to the page before', async () => {
    await walk.visit(page, '/');
    await page.click('#tabs a[href="/map"]');
    await page.waitForSelector('.sites tbody tr a');
    await page.click('.sites tbody tr:nth-child(2) a');
    await page.waitForSelector('.panel .node');
    await page.goBack();
    await page.waitForSelector('.panel', { state: 'hidden' });
    await page.goBack();
    await page.waitForSelector('.answers');
    assert(new URL(page.url()).pathname === '/', page.url());
  });
  await page.done();
}
