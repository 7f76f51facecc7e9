// The five questions of docs/console.md, walked by clicks that are counted, on a sidecar where a node is slow, one is out and
// a policy moved a fifth. Leaves the pictures of that page. Needs --tradewind.

import { join } from 'node:path';
import { assert, sleep } from '../lib.mjs';
import { REFUSED, SITES, Stage, policy, topology } from '../stage.mjs';

const URL_ASKED = 'https://www.example.com/objects/1042';
const CLIENT = '198.51.100.39';
const WARM_MS = 20000;

/** A page of Overview whose clicks are counted, and whose picture is taken. */
async function begin(stage, options = {}) {
  const page = await stage.walk.page('/', { width: 1080, height: 760, ...options });
  let clicks = 0;
  return {
    page,
    clicks: () => clicks,
    click: async (selector) => { clicks += 1; await page.click(selector); },
    picture: async (name, height, width = 1080) => {
      await page.mouse.move(0, 0);
      await sleep(600);
      await page.setViewportSize({ width, height });
      await sleep(600);
      await page.screenshot({ path: join(stage.walk.pictures, `walk-${name}.png`) });
    },
  };
}

export default async function walks(walk) {
  if (!walk.has('tradewind')) return;
  // Sites share objects, and a node that is out is out while one looks.
  const text = (images) => policy({ images, spec: ['score: { spread: 12ms }'] }).replace('base_ejection_time: 2s, max_ejection_time: 4s', 'base_ejection_time: 40s');
  const stage = await Stage.open(walk, { topology: topology(SITES.slice(0, 4)), policy: text() });
  try {
    stage.traffic({ rate: 250, hot: 0.1 });
    await sleep(WARM_MS);
    stage.write('policy.yaml', text('key: { host: false }'));
    stage.behave({ 'ams-3': { ms: 22 }, 'mad-2': REFUSED });
    await stage.until('it is slow, out and moved', 60000, async () => { const { headline, answers } = await stage.overview(); return /1 node is out, 1 is slow/.test(headline) && /It moved/.test(answers[3].answer); });
    await sleep(3000);
    await walk.check('which site served a client, why, and what would change it: 2 clicks by asking', async () => {
      const at = await begin(stage);
      await at.click('#tabs a[href="/explain"]');
      await at.page.waitForSelector('#ask-url');
      await at.page.fill('#ask-url', URL_ASKED);
      await at.page.fill('#ask-client', CLIENT);
      await at.click('form.ask button[type=submit]');
      await at.page.waitForSelector('#answer');
      const headline = await at.page.textContent('#answer');
      assert(/^\S+ at \S+ serves it, expected [\d.]+\sms\.$/.test(headline), headline);
      assert(await at.page.locator('.step').count() === 5, 'there are not five steps');
      const change = await at.page.textContent('.measured');
      assert(/would (win|share)/.test(change) && /would own it at [\d.]+ times its weight/.test(await at.page.textContent('.race')), `what would change it: "${change}"`);
      await at.picture('explain', 1000);
      console.log(`  ${at.clicks()} clicks: "${headline}" "${await at.page.textContent('#because')}" "${change}"`);
      assert(at.clicks() <= 2, `${at.clicks()} clicks`);
      await at.page.done();
    });
    await walk.check('the same by a decision of Live: 2 clicks', async () => {
      const at = await begin(stage, { theme: 'dark' });
      await at.click('#tabs a[href="/live"]');
      await at.page.waitForSelector('.tail tbody tr a');
      await at.page.waitForSelector('.hot');
      await at.picture('live', 620);
      await at.click('.tail tbody tr:nth-child(3) a');
      await at.page.waitForSelector('#answer');
      assert(/As it was at/.test(await at.page.textContent('main')), 'it does not say as of when');
      console.log(`  ${at.clicks()} clicks: "${await at.page.textContent('#answer')}"`);
      assert(at.clicks() <= 2, `${at.clicks()} clicks`);
      await at.page.done();
    });
    await walk.check('which node is sick, since when: 0 clicks, 1 for its breaker', async () => {
      const at = await begin(stage);
      assert(/mad-2/.test(await at.page.textContent('#failing')), 'the third answer does not name it');
      const row = await at.page.evaluate(() => [...document.querySelectorAll('.needs tbody tr')].find((one) => one.querySelector('th a').textContent === 'mad-2')?.textContent);
      assert(/since \d+\s(s|min)/.test(row) && /comes back /.test(row), row);
      await at.picture('overview', 1140, 1010);
      await at.click('.needs a[href*="mad-2"]');
      await at.page.waitForSelector('[id="node-mad-2"]');
      const panel = await at.page.textContent('.panel');
      assert(/breaker open|being tried/.test(panel) && /weight/.test(panel), panel.slice(0, 200));
      await at.picture('site', 700);
      console.log(`  ${at.clicks()} click: ${row.replace(/\s+/g, ' ')}`);
      assert(at.clicks() <= 1, `${at.clicks()} clicks`);
      await at.page.done();
    });
    await walk.check('what the last change of the policy did: 0 clicks, 1 for its words', async () => {
      const at = await begin(stage);
      const says = await at.page.textContent('#changed');
      assert(/It moved \d+\s% of requests/.test(says) && /% of images/.test(says), says);
      await at.click('#tabs a[href="/policy"]');
      await at.page.waitForSelector('.revision ul li');
      const words = await at.page.textContent('.revision ul');
      assert(/images/.test(words), words);
      await at.picture('policy', 640);
      console.log(`  ${at.clicks()} click: "${says}" "${words}"`);
      assert(at.clicks() <= 1, `${at.clicks()} clicks`);
      await at.page.done();
    });
  } finally {
    await stage.close();
  }
}
