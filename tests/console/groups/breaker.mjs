// 12: a node that is killed is in the third answer and in "Needs a look" within 2 s of the event, and leaves them when it is
// back. The node is a process of its own, asked over its port; the others do well. Needs --tradewind.

import { spawn } from 'node:child_process';
import http from 'node:http';
import { sleep } from '../lib.mjs';
import { SITES, Stage, freePort, topology } from '../stage.mjs';

const NODE = 'fra-2';
const WARM_MS = 8000;
const SERVE = "require('node:http').createServer((_, answer) => setTimeout(() => answer.end('ok'), 5)).listen(Number(process.argv[1]), '127.0.0.1')";

/** How an answer of the node at this port goes, as a proxy would find. */
const asked = (port) => new Promise((done) => {
  http.get({ host: '127.0.0.1', port, timeout: 1000, agent: false }, (answer) => { answer.resume(); done({}); }).on('error', () => done({ refuses: true })).on('timeout', function late() { this.destroy(); });
});

export default async function breaker(walk) {
  if (!walk.has('tradewind')) return;
  const port = await freePort();
  const stage = await Stage.open(walk, { topology: topology(SITES, 3, (site, node) => (site === 0 && node === 1 ? `127.0.0.1:${port}` : `10.1.${site}.${node + 1}:8080`)) });
  const start = () => spawn(process.execPath, ['-e', SERVE, String(port)], { stdio: 'ignore' });
  let node = start();
  const page = await stage.walk.page('/');
  const named = () => page.evaluate((id) => ({ mark: document.querySelector('#failing .mk path').getAttribute('class'), says: document.querySelector('#failing .says').textContent, answers: [...document.querySelectorAll('#failing a')].some((one) => one.textContent === id), needs: [...document.querySelectorAll('.needs th a')].some((one) => one.textContent === id) }), NODE);
  let looks;
  try {
    // Each request to the node is made: what is told of it is what became of it.
    looks = setInterval(async () => stage.behave({ [NODE]: await asked(port) }), 20);
    stage.traffic({ rate: 120 });
    await sleep(WARM_MS);
    const { newest } = await stage.walk.json('/debug/events?limit=1');
    const event = (isWell) => stage.until(`an event says that ${NODE} is ${isWell ? 'well' : 'out'}`, 60000, async () => {
      const { events } = await stage.walk.json(`/debug/events?since=${newest}&limit=1000`);
      return events.findLast((one) => one.node === NODE && (isWell ? one.mark === 'well' : one.mark === 'bad'));
    });
    await walk.check('a killed node is named within 2 s', async () => {
      const killed = Date.now();
      node.kill('SIGKILL');
      const told = await event(false);
      await walk.until(`the page names ${NODE}`, 2000 - Math.max(0, Date.now() - told.at_unix_ms), async () => { const at = await named(); return at.answers && at.needs; }, 20);
      console.log(`  the breaker opened ${told.at_unix_ms - killed} ms after the kill, and the page named it ${Date.now() - told.at_unix_ms} ms after that`);
    });
    await walk.check('it is named no more when it is back', async () => {
      node = start();
      const told = await event(true);
      await walk.until(`the third answer does not say that ${NODE} is out`, 2000 - Math.max(0, Date.now() - told.at_unix_ms), async () => (await named()).mark !== 'mk-bad', 20);
      console.log(`  the third answer was "${(await named()).says}" ${Date.now() - told.at_unix_ms} ms after the breaker closed`);
      // Its weight grows by eighths, which both say until it has all of it.
      await walk.until(`nothing names ${NODE}`, 60000, async () => { const at = await named(); return !at.answers && !at.needs; }, 200);
    });
  } finally {
    clearInterval(looks);
    node.kill('SIGKILL');
    await page.done();
    await stage.close();
  }
}
