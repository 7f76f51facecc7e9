// A sidecar of a group's own, with a small fleet, clients that ask it, and proxies that tell it how nodes did. Nodes do
// as they are told to: what a group wants to see, it causes.

import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sleep } from './lib.mjs';

const EXAMPLE = new URL('../../testdata/example/', import.meta.url);
const TICK_MS = 50;
const START_MS = 30000;
const REFUSED = { refuses: true };

/** Sites with where they are; clients stand around each, in a network of its own. */
export const SITES = [['FRA', 50.03, 8.57, 'DE'], ['AMS', 52.31, 4.76, 'NL'], ['LHR', 51.47, -0.46, 'GB'], ['MAD', 40.47, -3.57, 'ES'], ['WAW', 52.17, 20.97, 'PL']];
const PER_SITE = 3;
const network = (i) => `198.51.100.${i * 32}`;
/** Somebody near one of the sites. */
const anybody = (pick) => `198.51.100.${pick(SITES.length) * 32 + 1 + pick(30)}`;

/** A topology of these sites with so many nodes each. `address` says where a node is. */
export function topology(sites = SITES, each = PER_SITE, address = (site, node) => `10.${1 + (site >> 8)}.${site & 255}.${node + 1}:8080`) {
  const nodes = sites.flatMap(([id], i) => Array.from({ length: each }, (_, j) => `    - { id: ${id.toLowerCase()}-${j + 1}, site: ${id}, address: "${address(i, j)}" }`));
  return ['apiVersion: tradewind/v1', 'kind: Topology', 'metadata: { name: stage }', 'spec:', '  sites:',
    ...sites.map(([id, lat, lon, country]) => `    - { id: ${id}, lat: ${lat}, lon: ${lon}, country: ${country} }`), '  nodes:', ...nodes, ''].join('\n');
}

/** A policy whose times are short, so that a fault and its end fit into a minute; what happens is the same. */
export function policy({ images = '', spec = [], rules = [], end = '' } = {}) {
  const rule = (name, intent, more) => [`    - name: ${name}`, '      owner: web-team', `      intent: ${intent}`, '      rollback: restore the file of before', '      pools: [edge]', ...more.map((line) => `      ${line}`)];
  return ['apiVersion: tradewind/v1', 'kind: Policy', 'metadata: { name: stage }', 'spec:', '  addresses: { allow: [127.0.0.0/8] }', '  geo:', '    overrides:',
    ...SITES.map(([, lat, lon, country], i) => `      - { cidr: ${network(i)}/27, lat: ${lat}, lon: ${lon}, country: ${country} }`),
    '    default: { lat: 50.11, lon: 8.68, country: DE }',
    '  breaker: { base_ejection_time: 2s, max_ejection_time: 4s, probe_percent: 10 }', '  weights: { dwell_down: 2s, dwell_up: 1s }', '  slow_start_window: 6s',
    '  change_budget: { moved_percent_per_minute: 100 }', '  decision_log: { sample_ratio: 1 }', ...spec.map((line) => `  ${line}`),
    '  pools:', '    - { name: edge, select: { tier: edge } }', '  rules:', ...rules.map((line) => `    ${line}`),
    ...rule('images', 'Images have many widths', ['match: { paths: [{ value: /images }] }', ...(images ? [images] : [])]), ...(end ? [`  ${end}`] : rule('everything', 'Whatever no rule above claims', [])), ''].join('\n');
}

/** A port that is free now. */
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((done) => { server.once('listening', done); });
  const { port } = server.address();
  await new Promise((done) => { server.close(done); });
  return port;
}

/** Numbers that look random, and are the same for the same seed. */
export function random(seed) {
  let state = BigInt(seed);
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number((state >> 33n) % BigInt(below));
  };
}

/** A load report of `tradewind.v1.TelemetryService`, as a frame of gRPC. */
function report(node, utilisation) {
  const name = Buffer.from(node);
  const body = Buffer.alloc(12 + name.length);
  // Field 9, a double; field 16, a string.
  body.writeUInt8(0x49, 0);
  body.writeDoubleLE(utilisation, 1);
  body.writeUInt8(0x82, 9);
  body.writeUInt8(0x01, 10);
  body.writeUInt8(name.length, 11);
  name.copy(body, 12);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

export class Stage {
  constructor(walk, args = []) {
    Object.assign(this, { walk, args, folder: mkdtempSync(join(tmpdir(), 'console-')), child: null, nodes: new Map(), agents: new Map(), sent: 0, loads: null });
  }

  /** Writes the files, starts the sidecar and waits until its debug door answers. */
  static async open(walk, { policy: text = policy(), topology: fleet = topology(), geo = readFileSync(new URL('geo.mmdb', EXAMPLE)), args } = {}) {
    const stage = new Stage(walk, args);
    for (const [name, content] of [['policy.yaml', text], ['topology.yaml', fleet], ['geo.mmdb', geo]]) if (content != null) stage.write(name, content);
    stage.ports = { listen: await freePort(), admin: await freePort(), debug: await freePort(), http: await freePort() };
    stage.base = `http://127.0.0.1:${stage.ports.debug}`;
    stage.walk = walk.at(stage.base);
    await stage.start();
    return stage;
  }

  path(name) { return join(this.folder, name); }

  /** Puts a file in the place of another at once, as deployments do. */
  write(name, text) {
    writeFileSync(this.path('aside'), text);
    renameSync(this.path('aside'), this.path(name));
  }

  async start() {
    const log = openSync(this.path('log'), 'a');
    const doors = Object.entries(this.ports).flatMap(([door, port]) => [`--${door}`, `127.0.0.1:${port}`]);
    const files = ['--policy', this.path('policy.yaml'), '--topology', this.path('topology.yaml'), '--geo', this.path('geo.mmdb'), '--state-dir', this.path('state'), '--poll', '1s'];
    // Settings come from the environment too: a stage has only those it gives.
    this.child = spawn(this.walk.options.tradewind, ['serve', '--workers', '2', '--trusted-reporters', '127.0.0.0/8', ...doors, ...files, ...this.args], { stdio: ['ignore', log, log], env: {} });
    await this.walk.until('the stage answers', START_MS, async () => (await fetch(`${this.base}/livez`).catch(() => null))?.ok);
  }

  async kill() {
    if (this.child?.exitCode !== null || this.child.signalCode) return;
    const ended = new Promise((done) => { this.child.once('exit', done); });
    this.child.kill('SIGKILL');
    await ended;
  }

  async restart() {
    await this.kill();
    await this.start();
  }

  async close() {
    this.quiet();
    await this.kill();
    for (const agent of this.agents.values()) agent.destroy();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** What nodes do from now on: `{ ms, status, refuses }`; those that are not named do well. `'*'` are all. */
  behave(nodes) { this.nodes = new Map(Object.entries(nodes)); }

  does(node) { return this.nodes.get(node) || this.nodes.get(node.split('-')[0]) || this.nodes.get('*') || {}; }

  request(method, path, body, from) {
    if (!this.agents.has(from)) this.agents.set(from, new http.Agent({ keepAlive: true, maxSockets: 32, localAddress: from }));
    return new Promise((done, fail) => {
      const asked = http.request({ host: '127.0.0.1', port: this.ports.http, path, method, agent: this.agents.get(from), headers: body ? { 'content-length': Buffer.byteLength(body) } : {}, timeout: 5000 }, (response) => {
        let text = '';
        response.on('data', (part) => { text += part; });
        response.on('end', () => done({ status: response.statusCode, headers: response.headers, text }));
      });
      asked.on('error', fail);
      asked.on('timeout', () => asked.destroy(new Error('it does not answer')));
      asked.end(body);
    });
  }

  /** A decision for a client: its id, and the nodes that it names. */
  async decide(path, client, random) {
    const { headers } = await this.request('GET', `/v1/route?${new URLSearchParams({ host: 'www.example.com', path, client, request_id: String(random(1e9)) })}`, '', '127.0.0.1');
    const nodes = [headers['x-route-node-id'], ...[1, 2, 3, 4, 5, 6, 7].map((i) => headers[`x-route-fallback-${i}-id`])].filter(Boolean);
    return { id: headers['x-decision-id'], nodes };
  }

  /** A line of what a proxy saw: attempts down the list until a node answers. */
  tell({ id, nodes }, random) {
    const [status, times, asked] = [[], [], []];
    let isMiss = false;
    for (const node of nodes.slice(0, 3)) {
      const does = this.does(node);
      asked.push(node);
      if (does.refuses) { status.push('502'); times.push('-'); continue; }
      isMiss = random(100) < 15;
      status.push(String(does.status || 200));
      times.push((((does.ms || 8) * (1 + random(50) / 100) + (isMiss ? 30 : 0)) / 1000).toFixed(4));
      if (!(does.status >= 500)) break;
    }
    return { decision_id: id, node: asked.join(', '), status: status.join(', '), time_to_first_byte: times.join(', '), attempt: 1, cache_status: isMiss ? 'MISS' : 'HIT' };
  }

  /**
   * Asks `rate` times a second until `quiet`, and lets proxies tell. `hot` is the share of one object; `reporters` the
   * addresses that tell; `lies` what one of them says instead of a line.
   */
  traffic({ rate = 80, hot = 0, images = 0.3, paths, client = anybody, reporters = ['127.0.0.2', '127.0.0.3', '127.0.0.4'], tells = true, lies, seed = 20261127 } = {}) {
    this.quiet();
    const pick = random(seed);
    let owed = 0;
    let isBusy = false;
    const own = {};
    this.flow = own;
    own.timer = setInterval(async () => {
      owed = Math.min(owed + (rate * TICK_MS) / 1000, rate);
      if (isBusy) return;
      isBusy = true;
      const count = Math.floor(owed);
      owed -= count;
      const told = new Map(reporters.map((one) => [one, []]));
      try {
        await Promise.all(Array.from({ length: count }, async () => {
          const part = pick(1000) / 1000;
          const path = paths ? paths(pick) : part < hot ? '/live/final.m3u8' : part > 1 - images ? `/images/${pick(4000)}.jpg` : `/objects/${pick(4000)}`;
          const decided = await this.decide(path, client(pick), pick);
          this.sent += 1;
          const reporter = reporters[pick(reporters.length)];
          const line = decided.nodes.length && this.tell(decided, pick);
          if (line) told.get(reporter)?.push(lies?.[reporter] ? lies[reporter](line) : line);
        }));
        if (tells) await Promise.all([...told].filter(([, lines]) => lines.length).map(([from, lines]) => this.request('POST', '/v1/outcomes', lines.map((line) => JSON.stringify(line)).join('\n'), from)));
      } catch { /* while it is away nobody asks */ }
      isBusy = false;
    }, TICK_MS);
  }

  quiet() {
    clearInterval(this.flow?.timer);
    clearInterval(this.loads?.timer);
    this.loads?.session.destroy();
    this.loads = null;
  }

  /** Lets nodes say each second how busy they are. */
  load(busy) {
    const session = http2.connect(`http://127.0.0.1:${this.ports.listen}`);
    session.on('error', () => {});
    const stream = session.request({ ':method': 'POST', ':path': '/tradewind.v1.TelemetryService/ReportLoad', 'content-type': 'application/grpc', te: 'trailers' });
    stream.on('error', () => {});
    stream.resume();
    const say = () => Object.entries(busy).forEach(([node, ratio]) => stream.write(report(node, ratio)));
    say();
    this.loads = { session, timer: setInterval(say, 1000) };
  }

  /** Waits for something that the debug door says. */
  until(what, ms, holds) { return this.walk.until(what, ms, holds, 200); }

  /** Lets an operator act, as the page does. */
  async operate(what, body) {
    const { revision } = await this.overview();
    const answer = await fetch(`${this.base}/debug/actions/${what}`, { method: 'POST', headers: { 'content-type': 'application/json', 'if-match': `"${revision}"` }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${what} is answered ${answer.status}: ${await answer.text()}`);
    return answer.json();
  }

  overview() { return this.walk.json('/debug/overview'); }

  /** Lets nodes answer again, and waits until nothing needs a look. */
  async heal() {
    this.behave({});
    await this.until('all is well', 120000, async () => (await this.overview()).needs.every((need) => need.kind === 'geo'));
  }

  /** Resident memory of the sidecar, in bytes. */
  resident() { return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))[1]) * 1024; }
}

export { REFUSED, sleep };
