// 5 and 6: numbers have units and nothing unsaid leaks; every mark has a word beside it, also without colours.

import { PAGES, QUESTION, assert } from '../lib.mjs';

const UNIT = /^(…|not told|–|[−-]?[\d.,]+\u00a0(%|\/s|ms|s|µs|min|h|d|km|USD\/GB))( .*)?$/;

export default async function words(walk) {
  for (const path of [...PAGES, QUESTION]) await walk.check(`${path} says every number with its unit`, async () => {
    const page = await walk.page(path);
    // What requests and files say of themselves is theirs: paths, ids, texts.
    const text = await page.evaluate(() => {
      const copy = document.body.cloneNode(true);
      for (const own of copy.querySelectorAll('.mono, code, pre, textarea, script, time')) own.remove();
      return copy.textContent;
    });
    const bare = await page.evaluate(() => [...document.querySelectorAll('.sites td.n, .tail td.n, .rules td.n, .panel .cells dd')].map((cell) => cell.textContent.trim()).filter(Boolean));
    await page.done();
    const leaked = /.{0,20}\b(NaN|null|undefined|Infinity|\d(\.\d+)?e-\d+|\[object \w+\])\b.{0,20}/.exec(text);
    assert(!leaked, `"${leaked?.[0]}"`);
    const wrong = bare.find((cell) => !UNIT.test(cell));
    assert(wrong === undefined, `"${wrong}"`);
  });
  for (const path of PAGES) await walk.check(`${path} has a word beside every mark`, async () => {
    const page = await walk.page(path);
    const mute = await page.evaluate(() => [...document.querySelectorAll('svg.mk')].filter((mark) => !mark.getAttribute('aria-label') && !mark.parentElement.textContent.trim()).map((mark) => mark.parentElement.outerHTML.slice(0, 120)));
    await page.done();
    assert(!mute.length, mute[0]);
  });
  await walk.check('states differ by shape, and are drawn in forced colours', async () => {
    const page = await walk.page('/states', { forcedColors: 'active' });
    const marks = await page.evaluate(() => [...document.querySelectorAll('svg.mk path')].map((path) => {
      const { fill, stroke } = getComputedStyle(path);
      return { kind: path.getAttribute('class'), d: path.getAttribute('d'), seen: (fill !== 'none' ? fill : stroke) !== getComputedStyle(document.body).backgroundColor };
    }));
    await page.done();
    const shapes = new Map(marks.map((mark) => [mark.kind, mark.d]));
    assert(shapes.size > 2 && new Set(shapes.values()).size === shapes.size, 'two states have one shape');
    assert(marks.every((mark) => mark.seen), 'a mark has the colour of the paper');
  });
}
