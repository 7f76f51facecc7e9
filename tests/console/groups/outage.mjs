// 11: silence is said within 3 s, times go on, recovery and a restart are seen within 2 s, and no row stands twice.
// Needs --pid; the restart is of a sidecar of its own and needs --tradewind.

import { assert, sleep } from '../lib.mjs';
import { Stage } from '../stage.mjs';

const alert = (page) => page.evaluate(() => document.querySelector('#lost [role=alert]')?.textContent || '');

export default async function outage(walk) {
  if (walk.has('pid')) {
    const pid = Number(walk.options.pid);
    for (const path of ['/', '/live']) {
      const page = await walk.page(path);
      try {
        await walk.check(`silence is said within 3 s at ${path}`, async () => {
          process.kill(pid, 'SIGSTOP');
          await walk.until('the alert', 3000, () => alert(page));
          const first = await alert(page);
          assert(/No answer from .* for .*What you see is of \d\d:\d\d:\d\d/.test(first), first);
          await sleep(2200);
          assert(await alert(page) !== first, 'its times do not go on');
        });
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      await walk.check(`recovery is seen within 2 s at ${path}`, async () => {
        await walk.until('the alert goes', 2000, async () => !(await alert(page)));
        const numbers = await page.evaluate(() => [...document.querySelectorAll('.tail tbody tr')].map((row) => row.dataset.number));
        assert(new Set(numbers).size === numbers.length, 'a row stands twice');
      });
      await page.done();
    }
  }
  if (!walk.has('tradewind')) return;
  const stage = await Stage.open(walk);
  const page = await stage.walk.page('/');
  await walk.check('a restart is seen within 2 s of being ready', async () => {
    await stage.restart();
    await walk.until('it is ready again', 30000, async () => (await fetch(`${stage.base}/readyz`).catch(() => null))?.ok);
    await walk.until('it says restarted', 2000, async () => /restarted/.test(await page.textContent('#link')));
    assert(!(await alert(page)), 'the alert stays');
  });
  await page.done();
  await stage.close();
}
