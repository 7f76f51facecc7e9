// What all groups of assertions share: the browser, pages that are watched, and the lines that are printed.

import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import http from 'node:http';
import { chromium } from 'playwright-core';

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
// A step that takes longer hangs.
const STEP_MS = 15000;

export const PAGES = ['/', '/map', '/explain', '/policy', '/live', '/states'];
export const WIDTHS = [1280, 390];
export const THEMES = ['light', 'dark'];
export const QUESTION = '/explain?host=www.example.com&path=/video/1042/seg-2.m4s&client=198.18.13.7';

/** Starts the browser that is named, or the first of the usual names on the PATH. */
export function launch(path = process.env.CHROMIUM) {
  const found = path || (process.env.PATH || '').split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name))).find((file) => existsSync(file));
  if (!found) {
    console.error('no Chromium: name it by --chromium or CHROMIUM');
    process.exit(2);
  }
  return chromium.launch({ executablePath: found, args: FLAGS });
}

export const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** Throws unless it holds. */
export function assert(holds, why) {
  if (!holds) throw new Error(why);
}

export class Walk {
  constructor(of) {
    Object.assign(this, of, { counts: { held: 0, failed: 0, skipped: 0 }, name: '' });
    this.slow = Number(this.options.slow || 1);
  }

  /** The same walk at another sidecar: what it finds is counted here. */
  at(base) {
    return Object.assign(Object.create(this), { base });
  }

  async group(name, run) {
    this.name = name;
    try {
      await run(this);
    } catch (error) {
      this.counts.failed += 1;
      console.log(`FAILED ${name}: ${one(error)}`);
    }
  }

  /** One assertion: holds unless `run` throws. */
  async check(what, run) {
    try {
      await run();
      this.counts.held += 1;
      console.log(`ok ${this.name}: ${what}`);
    } catch (error) {
      this.counts.failed += 1;
      console.log(`FAILED ${this.name}: ${what}: ${one(error)}`);
    }
  }

  /** Whether all these options are there; says which is not. */
  has(...names) {
    const missing = names.filter((name) => !this.options[name]);
    if (!missing.length) return true;
    this.counts.skipped += 1;
    console.log(`skipped ${this.name}: needs ${missing.map((name) => `--${name}`).join(' and ')}`);
    return false;
  }

  skip(what, why) {
    this.counts.skipped += 1;
    console.log(`skipped ${this.name}: ${what}: ${why}`);
  }

  /** A page of its own. `faults` has what a page must not do: complain, be refused something, ask elsewhere. */
  async page(path, { width = 1280, height = 900, theme = 'light', init, ...context } = {}) {
    const own = await this.browser.newContext({ viewport: { width, height }, colorScheme: theme, ...context });
    const page = await own.newPage();
    page.setDefaultTimeout(STEP_MS * this.slow);
    const faults = [];
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && faults.push(message.text()));
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('request', (request) => { if (!request.url().startsWith(`${this.base}/`)) faults.push(`asks ${request.url()}`); });
    if (init) await page.addInitScript(init);
    if (path) await this.visit(page, path);
    return Object.assign(page, { faults, done: () => own.close() });
  }

  /** Goes there and waits until the answers and the page's own content are shown. */
  async visit(page, path) {
    await page.goto(this.base + path);
    await page.waitForFunction(() => {
      const main = document.querySelector('main');
      const ready = { overview: '.answers .says', map: '.sites tbody tr', explain: 'form.ask', policy: '.rules tbody tr', live: '.tail', states: '.specimen' }[main.classList[0]];
      return ready && document.querySelector(ready) && document.getElementById('asof')?.textContent && !/^…/.test(document.querySelector('main h1').textContent);
    });
    // The region that comes by a second answer: the log, flows, hot keys.
    await page.waitForLoadState('load');
    await sleep(300 * this.slow);
  }

  async json(path) {
    const response = await fetch(this.base + path);
    return response.json();
  }

  /** A request with exactly these headers: a browser would not let one lie about its origin. */
  raw(method, path, headers = {}, body = '') {
    const url = new URL(this.base + path);
    return new Promise((done, fail) => {
      const request = http.request({ host: url.hostname, port: url.port, path: url.pathname + url.search, method, headers: { 'content-length': Buffer.byteLength(body), ...headers }, timeout: STEP_MS }, (response) => {
        let text = '';
        response.on('data', (part) => { text += part; });
        response.on('end', () => done({ status: response.statusCode, headers: response.headers, text }));
      });
      request.on('error', fail);
      request.end(body);
    });
  }

  /** Waits until `holds` returns something, at most `ms`; says what for when it does not. */
  async until(what, ms, holds, every = 50) {
    const end = Date.now() + ms * this.slow;
    for (;;) {
      const got = await holds();
      if (got) return got;
      if (Date.now() > end) throw new Error(`not within ${ms * this.slow} ms: ${what}`);
      await sleep(every);
    }
  }
}

const one = (error) => String(error?.message || error).split('\n')[0].slice(0, 400);
