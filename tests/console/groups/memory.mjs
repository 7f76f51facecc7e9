// 14: the tail's memory stays flat while decisions come. On a sidecar of its own, each decision kept, Live open. Needs
// --tradewind. --minutes N (1 by default), --rate N decisions a second (1000).

import { assert, sleep } from '../lib.mjs';
import { Stage } from '../stage.mjs';

const SAMPLES = 6;
// What a page may hold more in the second half, in bytes: code that was compiled meanwhile, and the browser's own.
const MOST_MORE = 500_000;

export default async function memory(walk) {
  if (!walk.has('tradewind')) return;
  const minutes = Number(walk.options.minutes || 1);
  const rate = Number(walk.options.rate || 1000);
  const stage = await Stage.open(walk);
  try {
    const page = await stage.walk.page('/live');
    const session = await page.context().newCDPSession(page);
    await session.send('HeapProfiler.enable');
    const measure = async () => {
      await session.send('HeapProfiler.collectGarbage');
      const { usedSize } = await session.send('Runtime.getHeapUsage');
      const { nodes, jsEventListeners } = await session.send('Memory.getDOMCounters');
      return { heap: usedSize, nodes, listeners: jsEventListeners };
    };
    stage.traffic({ rate, tells: false });
    await walk.check(`${minutes} min of Live, asked to keep ${rate} decisions/s: its memory is flat`, async () => {
      // The page has all of its rows, and the first of them have gone.
      await sleep(10000);
      const [began, first] = [Date.now(), stage.sent];
      const all = [await measure()];
      for (let i = 0; i < SAMPLES; i += 1) {
        await sleep((minutes * 60000) / SAMPLES);
        all.push(await measure());
        const rows = await page.locator('.tail tbody tr').count();
        assert(rows > 0 && rows <= 50, `${rows} rows`);
      }
      const came = ((stage.sent - first) / (Date.now() - began)) * 1000;
      console.log(`  ${Math.round(came)} decisions/s came; heap in kB: ${all.map(({ heap }) => Math.round(heap / 1000)).join(', ')}; nodes: ${all.map(({ nodes }) => nodes).join(', ')}; listeners: ${all.map(({ listeners }) => listeners).join(', ')}; sidecar ${Math.round(stage.resident() / 1e6)} MB`);
      // What is not collected yet comes and goes; what leaks is there at each later sample.
      const half = Math.ceil(all.length / 2);
      for (const [name, most] of [['heap', MOST_MORE], ['nodes', 500], ['listeners', 30]]) {
        const [before, after] = [Math.max(...all.slice(0, half).map((one) => one[name])), Math.min(...all.slice(half).map((one) => one[name]))];
        assert(after - before <= most, `${name} grew from ${before} to ${after}`);
      }
      assert(!page.faults.length, page.faults.join('; '));
    });
    await page.done();
  } finally {
    await stage.close();
  }
}
