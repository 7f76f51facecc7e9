// 19: nothing in force, no node, no decision, and one of each: every page says so in words, and none complains. Needs
// --tradewind.

import { PAGES, QUESTION, assert, sleep } from '../lib.mjs';
import { SITES, Stage, policy, random, topology } from '../stage.mjs';

const ONE = SITES.slice(0, 1);

/** What a page with next to nothing says: its words, and what it did that it must not. */
async function look(stage, path, width) {
  const page = await stage.walk.page(null, { width });
  await page.goto(stage.base + path);
  await page.waitForFunction(() => document.getElementById('asof')?.textContent && document.querySelector('main h1'));
  await sleep(1200);
  const seen = await page.evaluate(() => {
    const copy = document.querySelector('main').cloneNode(true);
    for (const own of copy.querySelectorAll('textarea, script')) own.remove();
    return { text: copy.textContent.replace(/\s+/g, ' ').trim(), whole: document.documentElement.scrollWidth, fits: document.documentElement.clientWidth };
  });
  // That a page has been refused something (no policy: 503) the browser reports by itself.
  const faults = page.faults.filter((fault) => !/^Failed to load resource/.test(fault));
  await page.done();
  return { ...seen, faults };
}

async function every(stage, name, wanted) {
  for (const path of [...PAGES, QUESTION]) for (const width of [1280, 390]) await stage.walk.check(`${name}: ${path} at ${width} px`, async () => {
    const { text, whole, fits, faults } = await look(stage, path, width);
    assert(!faults.length, faults.join('; '));
    assert(whole === fits, `scrolls sideways: ${whole} of ${fits} px`);
    const leaked = /.{0,20}\b(NaN|null|undefined|Infinity|\[object \w+\])\b.{0,20}/.exec(text);
    assert(!leaked, `"${leaked?.[0]}"`);
    assert(text.length > 20 && !/^…/.test(text), `it says "${text}"`);
    const says = wanted[path];
    assert(!says || says.test(text), `it says "${text.slice(0, 300)}"`);
  });
}

export default async function empty(walk) {
  if (!walk.has('tradewind')) return;
  const acts = [
    ['nothing in force', { policy: null, topology: null }, null, { '/': /Nothing is in force/, '/map': /No (fleet|topology|policy)|nothing is in force/i, '/policy': /No policy is in force/, '/live': /No decision is kept yet/, [QUESTION]: /[Nn]o policy|not ready|in force/ }],
    ['a faulty policy', { policy: 'spec: {}\n' }, null, { '/': /Nothing is in force/, '/policy': /No policy is in force/, '/live': /No decision is kept yet/ }],
    ['one of each, never asked', { policy: policy(), topology: topology(ONE, 1) }, null, { '/': /Serving|Nobody asks|counted yet/, '/map': /FRA/, '/live': /No decision is kept yet/, '/policy': /everything/, [QUESTION]: /fra-1 at FRA serves it/ }],
    ['one of each, asked once', { policy: policy(), topology: topology(ONE, 1) }, 1, { '/live': /\/objects\/1/, '/map': /FRA/ }],
    ['a site without nodes', { policy: policy(), topology: `${topology(ONE, 1).replace('  nodes:', '    - { id: BARE, lat: 10, lon: 10, country: NG }\n  nodes:')}` }, null, { '/map': /FRA/ }],
    ['no node', { policy: policy(), topology: topology(ONE, 0).replace('  nodes:', '  nodes: []') }, null, {}],
  ];
  for (const [name, files, asks, wanted] of acts) {
    const stage = await Stage.open(walk, files);
    try {
      if (asks) await stage.decide('/objects/1', '198.51.100.7', random(1));
      await sleep(1500);
      console.log(`  ${name}: "${(await stage.overview()).headline}"`);
      await every(stage, name, wanted);
    } finally {
      await stage.close();
    }
  }
}

