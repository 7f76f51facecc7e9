// Draining, by the page and by the terminal: the page says so at once, and both ways are taken back.

import { execFileSync } from 'node:child_process';
import { assert } from '../lib.mjs';

export default async function operate(walk) {
  const { roles } = await walk.json('/debug/sidecar');
  const state = await walk.json('/debug/state');
  const at = state.nodes.mark.findIndex((mark, i) => mark === 'well' && state.nodes.mark.filter((other, j) => other === 'well' && state.nodes.site[j] === state.nodes.site[i]).length > 1);
  if (at < 0) return walk.skip('draining', 'no site has two nodes that are well');
  const node = state.nodes.id[at];
  const drained = async () => {
    const all = await walk.json(`/debug/nodes?site=${encodeURIComponent(state.sites.id[state.nodes.site[at]])}`);
    return all.nodes.find((one) => one.id === node).mark === 'drained';
  };
  if (!roles.includes('operate')) {
    await walk.check('without the role, actions are disabled and say why', async () => {
      const page = await walk.page(`/map?node=${encodeURIComponent(node)}`);
      await page.waitForSelector('.panel .node button');
      assert(await page.isDisabled('.panel .node button'), 'a button acts');
      assert(/Needs the role operate/.test(await page.textContent('#why-not')), 'it does not say why');
      await page.done();
    });
  } else {
    await walk.check('a node is drained after a confirmation that says what moves, and taken back', async () => {
      const page = await walk.page(`/map?node=${encodeURIComponent(node)}`);
      await page.click(`[data-key="drain ${node}"]`);
      await page.waitForFunction(() => { const text = document.querySelector('dialog p')?.textContent; return text && text !== '…'; });
      await page.fill('dialog [name=reason]', 'walk');
      await page.click('dialog button.first');
      await page.waitForFunction(() => /Done/.test(document.querySelector('dialog h2')?.textContent));
      await page.keyboard.press('Escape');
      await page.mouse.move(0, 0);
      await page.waitForSelector(`[data-key="undrain ${node}"]`);
      assert(await drained(), 'the door does not say so');
      await page.click(`[data-key="undrain ${node}"]`);
      await page.click('dialog button.first');
      await page.waitForFunction(() => /Done/.test(document.querySelector('dialog h2')?.textContent));
      await page.done();
      await walk.until('the node is back', 5000, async () => !(await drained()));
    });
  }
  if (!walk.has('tradewind', 'admin')) return;
  await walk.check('what the terminal drains is in "Needs a look" within 2 s, and leaves it', async () => {
    const page = await walk.page('/');
    const run = (...more) => execFileSync(walk.options.tradewind, ['drain', node, '--why', 'walk', '--server', walk.options.admin, ...more]);
    const isListed = () => page.evaluate((id) => [...document.querySelectorAll('.needs th a')].some((one) => one.textContent === id), node);
    run();
    try {
      await walk.until(`${node} needs a look`, 2000, isListed);
    } finally {
      run('--undo');
    }
    await walk.until(`${node} is well again`, 3000, async () => !(await isListed()));
    await page.done();
  });
}
