// 3 and 18 at 300 sites and 3,000 nodes: the first view, elements, labels, and what the sidecar holds. Needs --tradewind.

import { join } from 'node:path';
import { WIDTHS, sleep } from '../lib.mjs';
import { Stage, policy, random, topology } from '../stage.mjs';
import sizes from './sizes.mjs';
import map from './map.mjs';

const EACH = 10;
// Where people are, roughly: sites are strewn around these.
const PLACES = [[51.5, -0.1, 'GB'], [50.1, 8.7, 'DE'], [48.9, 2.4, 'FR'], [40.4, -3.7, 'ES'], [52.2, 21, 'PL'], [59.3, 18.1, 'SE'], [41.9, 12.5, 'IT'], [40.7, -74, 'US'], [41.9, -87.6, 'US'], [34.1, -118.2, 'US'], [29.8, -95.4, 'US'], [19.4, -99.1, 'MX'],
  [-23.5, -46.6, 'BR'], [-34.6, -58.4, 'AR'], [4.7, -74.1, 'CO'], [6.5, 3.4, 'NG'], [-26.2, 28, 'ZA'], [30, 31.2, 'EG'], [25.3, 55.3, 'AE'], [19.1, 72.9, 'IN'], [28.6, 77.2, 'IN'], [1.4, 103.8, 'SG'], [-6.2, 106.8, 'ID'], [35.7, 139.7, 'JP'], [37.6, 127, 'KR'],
  [22.3, 114.2, 'HK'], [31.2, 121.5, 'CN'], [-33.9, 151.2, 'AU'], [-36.8, 174.8, 'NZ'], [13.8, 100.5, 'TH']];

/** Three hundred sites; one at each side of the date line, and two at one point. */
function sites() {
  const pick = random(300);
  const all = Array.from({ length: 296 }, (_, i) => {
    const [lat, lon, country] = PLACES[i % PLACES.length];
    return [`S${String(i).padStart(3, '0')}`, Number((lat + pick(1200) / 100 - 6).toFixed(2)), Number(Math.min(179, lon + pick(1800) / 100 - 9).toFixed(2)), country];
  });
  return [...all, ['EAST', -17, 180, 'FJ'], ['WEST', -17.5, -180, 'FJ'], ['TWIN-A', 53.35, -6.26, 'IE'], ['TWIN-B', 53.35, -6.26, 'IE']];
}

export default async function large(walk) {
  if (!walk.has('tradewind')) return;
  const stage = await Stage.open(walk, { topology: topology(sites(), EACH), policy: policy() });
  try {
    await stage.until('the fleet is in force', 10000, async () => (await stage.walk.json('/debug/state')).nodes?.id.length === 300 * EACH);
    console.log(`  sidecar with 300 sites and 3,000 nodes, nobody looking: ${(stage.resident() / 1e6).toFixed(0)} MB`);
    stage.traffic({ rate: 100, client: (pick) => `198.18.${pick(110)}.${1 + pick(250)}` });
    await sleep(10000);
    console.log(`  after 10 s of 100 decisions/s: ${(stage.resident() / 1e6).toFixed(0)} MB`);
    await sizes(stage.walk);
    await map(stage.walk);
    for (const width of WIDTHS) {
      const page = await stage.walk.page('/map', { width });
      await sleep(1000);
      await page.screenshot({ path: join(walk.pictures, `large-map-${width}.png`), fullPage: true });
      await page.done();
    }
    const viewers = await Promise.all(Array.from({ length: 5 }, () => stage.walk.page('/map')));
    await sleep(5000);
    console.log(`  with five looking at the map: ${(stage.resident() / 1e6).toFixed(0)} MB`);
    for (const viewer of viewers) await viewer.done();
  } finally {
    await stage.close();
  }
}
