// Walks through the console of a running sidecar in Chromium and says, a line each, what holds.
//
//     node walk.mjs BASE_URL PICTURES_DIR [--only GROUP,GROUP] [--chromium PATH] [--questions N] [--slow FACTOR]
//                   [--pid PID] [--policy FILE] [--tradewind BINARY] [--admin HOST:PORT]
//                   [--same N] [--flips N] [--minutes N] [--rate N] [--scene NAME,NAME]
//
// Prints `ok NAME`, `FAILED NAME: why` or `skipped NAME: why`; exits 1 if anything failed, 2 if it could not begin.
// --pid        of the sidecar: it is stopped and let go on, to see how silence is said
// --policy     the file that the sidecar reads: it gets a fault, and a bias, and is put back
// --tradewind, --admin the program and its admin door: answers are compared, a node is drained and taken back; groups that
//              cause what they want to see start sidecars of their own (stage.mjs)
// --same, --flips      how many questions are compared with gRPC and terminal, and how many changes are made
// --minutes, --rate    how long memory is looked at, at how many decisions a second
// --scene      some of the scenes alone, by their names
// --slow       multiplies the bounds of time, for machines that do something else as well

import { mkdirSync } from 'node:fs';
import { Walk, launch } from './lib.mjs';

const GROUPS = ['clean', 'sizes', 'words', 'accessible', 'explain', 'links', 'keyboard', 'live', 'safe', 'doors', 'hidden', 'map', 'pictures', 'operate', 'refused', 'flips', 'same', 'breaker', 'walks', 'scenes', 'empty', 'large', 'memory', 'outage'];

const [base, pictures, ...rest] = process.argv.slice(2);
if (!base || !pictures) {
  console.error('usage: node walk.mjs BASE_URL PICTURES_DIR [options], see the head of this file');
  process.exit(2);
}
const options = {};
for (let i = 0; i < rest.length; i += 2) {
  if (!rest[i].startsWith('--') || rest[i + 1] === undefined) {
    console.error(`not understood: ${rest[i]}`);
    process.exit(2);
  }
  options[rest[i].slice(2)] = rest[i + 1];
}
mkdirSync(pictures, { recursive: true });

const browser = await launch(options.chromium);
const walk = new Walk({ browser, base: base.replace(/\/$/, ''), pictures, options });
const wanted = options.only ? options.only.split(',') : GROUPS;
for (const name of wanted) {
  const group = await import(`./groups/${name}.mjs`);
  await walk.group(name, group.default);
}
await browser.close();
const { held, failed, skipped } = walk.counts;
console.log(`${held} held, ${failed} failed, ${skipped} skipped`);
process.exit(failed ? 1 : 0);
