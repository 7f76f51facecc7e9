// 15: no whole address of a client in page or stream; what looks like HTML is text.

import { assert, sleep } from '../lib.mjs';

const MARKUP = '<img src=x onerror=document.title="hit">';
// A network: with its length, or with its last part blanked.
const isNetwork = (client) => !client || client.includes('/') || /(\.0|::)$/.test(client);

/** What the stream says within `ms`. */
async function listen(walk, topics, ms) {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), ms);
  let text = '';
  try {
    const response = await fetch(`${walk.base}/debug/stream?topics=${topics}`, { signal: stop.signal });
    const decoder = new TextDecoder();
    for await (const part of response.body) text += decoder.decode(part, { stream: true });
  } catch (error) {
    if (error.name !== 'AbortError') throw error;
  }
  return text;
}

export default async function safe(walk) {
  await walk.check('clients in the tail are networks', async () => {
    const page = await walk.page('/live');
    await sleep(2000);
    const clients = await page.evaluate(() => [...document.querySelectorAll('.tail .client .mono')].map((cell) => cell.textContent.trim()));
    await page.done();
    const whole = clients.find((client) => !isNetwork(client));
    assert(!whole, whole);
  });
  await walk.check('clients in the stream are networks', async () => {
    const text = await listen(walk, 'decisions,events,overview', 4000 * walk.slow);
    assert(text.includes('event: '), 'the stream says nothing');
    const rows = [...text.matchAll(/"client":"([^"]*)"/g)].map((found) => found[1]);
    const whole = rows.find((client) => !isNetwork(client));
    assert(!whole, whole);
  });
  await walk.check('markup in a path is text', async () => {
    const page = await walk.page(null);
    await page.goto(`${walk.base}/explain?${new URLSearchParams({ host: 'www.example.com', path: `/${MARKUP}`, client: '198.18.13.7' })}`);
    await page.waitForFunction(() => [...document.querySelectorAll('#answer, .fault:not([hidden])')].some((one) => one.textContent));
    const seen = await page.evaluate(() => [document.querySelectorAll('main img').length, document.title]);
    await page.done();
    assert(seen[0] === 0 && seen[1] !== 'hit', 'it became markup');
  });
  await walk.check('markup in a filter and in a site is text', async () => {
    const page = await walk.page(null);
    for (const path of [`/live?contains=${encodeURIComponent(MARKUP)}&rule=${encodeURIComponent(MARKUP)}`, `/map?site=${encodeURIComponent(MARKUP)}`, `/policy?compare=${encodeURIComponent(MARKUP)}`]) {
      await page.goto(walk.base + path);
      await sleep(1000);
      assert(await page.locator('main img').count() === 0, path);
    }
    await page.done();
  });
}
