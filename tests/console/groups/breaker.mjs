// 12: a node that fails is in the third answer or in "Needs a look" within 2 s of the event, and leaves it when it is
// back. Needs traffic, --node and --node-pid.

import { assert } from '../lib.mjs';

export default async function breaker(walk) {
  if (!walk.has('node', 'node-pid')) return;
  const { node } = walk.options;
  const pid = Number(walk.options['node-pid']);
  const page = await walk.page('/');
  const isNamed = () => page.evaluate((id) => [...document.querySelectorAll('.answers a, .needs th a')].some((one) => one.textContent === id), node);
  const newest = async () => (await walk.json('/debug/events?limit=1')).newest;
  const first = await newest();
  const event = (mark) => walk.until(`an event says that ${node} is ${mark}`, 120000, async () => (await walk.json(`/debug/events?since=${first}&limit=1000`)).events.findLast((one) => one.node === node && (mark === 'well') === (one.mark === 'well')), 100);
  try {
    await walk.check(`${node} is named within 2 s`, async () => {
      process.kill(pid, 'SIGSTOP');
      await event('out');
      await walk.until(`the page names ${node}`, 2000, isNamed);
      assert(await page.locator('.log .mk-bad').count() >= 0, 'the log is gone');
    });
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await walk.check(`${node} leaves it when it is back`, async () => {
    await event('well');
    await walk.until(`the page does not name ${node} any more`, 120000, async () => !(await isNamed()), 500);
  });
  await page.done();
}
