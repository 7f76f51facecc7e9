// 7: Explain shows what the door answered: the order, the terms, the totals, the sentence; bars are as long as their ms.

import { execFileSync } from 'node:child_process';
import { assert } from '../lib.mjs';

const TERMS = ['network', 'service', 'queue', 'miss', 'error', 'cost', 'bias'];
const PATHS = ['/video/{}/seg-1.m4s', '/api/v2/items/{}', '/account/orders', '/images/{}.jpg?w=200', '/page/{}'];

/** Words without what only writing adds. */
const plain = (text) => text.toLowerCase().replaceAll('`', '').replace(/[.\s]+/g, ' ').trim();

const total = (ms) => (ms < 0.995 ? null : ms < 99.95 ? ms.toFixed(1) : Math.round(ms).toLocaleString('en-US'));

/** Made-up questions, the same ones each time. */
export function questions(count) {
  return Array.from({ length: count }, (_, i) => ({ url: `https://www.example.com${PATHS[i % PATHS.length].replace('{}', (i * 7919) % 5000)}`, client: `198.18.${(i * 37) % 120}.7` }));
}

/** The address of the page for a question. */
export function address({ url, client }) {
  const { hostname, pathname, search } = new URL(url);
  return `/explain?${new URLSearchParams({ host: hostname, path: pathname, ...(search ? { query: search.slice(1) } : {}), client })}`;
}

/** Asks on the page, and returns what the page was told and what it shows. */
export async function ask(walk, page, question) {
  const [response] = await Promise.all([page.waitForResponse((one) => one.url().includes('/debug/explain?')), page.goto(walk.base + address(question))]);
  const told = await response.json();
  if (response.ok()) await page.waitForSelector('#answer');
  const shown = await page.evaluate(() => ({ headline: document.getElementById('answer')?.textContent, because: document.getElementById('because')?.textContent,
    rows: [...document.querySelectorAll('.bill li')].map((row) => ({ site: row.dataset.site, total: row.querySelector('.total').firstChild.textContent, isUsed: row.classList.contains('used'),
      bars: [...row.querySelectorAll('.bars i')].map((bar) => ({ term: /term-(\w+)/.exec(bar.className)[1], width: bar.getBoundingClientRect().width })) })),
    says: document.querySelector('.bill .says')?.textContent || document.querySelector('.measured')?.textContent || '' }));
  return { told, shown };
}

export default async function explain(walk) {
  const page = await walk.page(null);
  const count = Number(walk.options.questions || 40);
  const all = questions(count);
  await walk.check(`${count} questions: order, totals, terms and widths`, async () => {
    for (const question of all) {
      const { told, shown } = await ask(walk, page, question);
      const where = `${question.url} from ${question.client}`;
      const { decision, explanation } = told;
      assert(decision, `${where}: ${told.error}`);
      const first = decision.candidates?.[0];
      if (first) assert(shown.headline.includes(first.node) && shown.headline.includes(first.site), `${where}: the headline is "${shown.headline}"`);
      assert(shown.headline === explanation.headline && shown.because === explanation.why, `${where}: "${shown.headline} ${shown.because}" instead of "${explanation.headline} ${explanation.why}"`);
      const sites = explanation.sites || [];
      const order = shown.rows.map((row) => row.site);
      const expected = sites.slice(0, 10).map((site) => site.site);
      assert(order.slice(0, expected.length).join() === expected.join(), `${where}: ${order} instead of ${expected}`);
      if (first && sites.some((site) => site.site === first.site)) assert(shown.rows.find((row) => row.isUsed)?.site === first.site, `${where}: ${first.site} is not marked as used`);
      const ratios = [];
      for (const row of shown.rows) {
        const site = sites.find((one) => one.site === row.site);
        const wanted = total(site.total_ms);
        assert(wanted === null || row.total === wanted, `${where}: ${row.site} ${row.total} instead of ${wanted}`);
        const terms = TERMS.filter((term) => site[`${term}_ms`]);
        assert(row.bars.map((bar) => bar.term).join() === terms.join(), `${where}: ${row.site} shows ${row.bars.map((bar) => bar.term)} instead of ${terms}`);
        for (const bar of row.bars) ratios.push([bar.width, Math.abs(site[`${bar.term}_ms`]), row.site, bar.term]);
      }
      const scale = ratios.reduce((sum, [width]) => sum + width, 0) / ratios.reduce((sum, [, ms]) => sum + ms, 0);
      for (const [width, ms, site, term] of ratios) assert(Math.abs(width - ms * scale) <= 1, `${where}: ${term} of ${site} is ${width.toFixed(1)} px wide instead of ${(ms * scale).toFixed(1)}`);
    }
  });
  await walk.check('a faulty question is blamed on its field, and the last answer stays', async () => {
    await page.fill('#ask-client', '300.1.1.1');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#ask-client[aria-invalid]');
    assert(await page.locator('#answer').count() === 1, 'the last answer is gone');
  });
  await page.done();
  if (!walk.has('tradewind')) return;
  await walk.check('the terminal says the same', async () => {
    const own = await walk.page(null);
    const where = walk.options.decisions ? ['--server', walk.options.decisions] : [];
    for (const question of all.slice(0, 20)) {
      // Signals move while requests come: both are of one state only if nothing changed in between.
      let missing;
      for (let tries = 0; tries < 8 && missing !== ''; tries += 1) {
        const { told } = await ask(walk, own, question);
        const said = plain(execFileSync(walk.options.tradewind, ['route', question.url, '--client', question.client, '--explain', ...where], { encoding: 'utf8' }));
        missing = [told.explanation.headline, told.explanation.why, ...(told.explanation.summary || [])].find((line) => !said.includes(plain(line))) || '';
      }
      assert(missing === '', `${question.url}: not said in the terminal: ${missing}`);
    }
    await own.done();
  });
}
