// A relay of the test's own: the real binary with a fresh data folder, its metrics, its memory and its call log.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';

export const HTTP = 'http://127.0.0.1:8080';
const ADMIN = 'http://127.0.0.1:9090';

export class Relay {
  output = '';
  #child;
  #env;

  /**
   * Starts the binary; `env` sets knobs beside the harness's own. Two people are forwarded like any others, unless the
   * test is about the tunnel: SOTTO_TUNNEL=on.
   */
  static async start(env = {}) {
    const relay = new Relay();
    relay.data = mkdtempSync(join(tmpdir(), 'sotto-test-'));
    relay.#env = {
      SOTTO_HTTP: '127.0.0.1:8080', SOTTO_ADMIN: '127.0.0.1:9090', SOTTO_MEDIA_PORT: '3478',
      SOTTO_WORKERS: '2', SOTTO_DATA_DIR: relay.data, SOTTO_RETENTION_DAYS: '7', SOTTO_TUNNEL: 'off', ...env,
    };
    await relay.launch();
    return relay;
  }

  async launch() {
    this.#child = spawn(process.env.SOTTO_BIN, { env: { PATH: process.env.PATH, ...this.#env }, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream.on('data', text => (this.output += text));
    this.#child.once('exit', code => (this.code = code));
    for (const until = Date.now() + 10_000; Date.now() < until; await sleep(50)) {
      if (this.#child.exitCode !== null) break;
      if (await fetch(`${ADMIN}/healthz`).then(r => r.ok, () => false) && await fetch(HTTP).then(r => r.ok, () => false)) return;
    }
    throw new Error(`the relay did not come up:\n${this.output}`);
  }

  /** Ends the process and waits for it; SIGKILL gives it no chance to say goodbye. */
  async end(signal = 'SIGTERM') {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return this.#child.exitCode;
    const exit = once(this.#child, 'exit');
    this.#child.kill(signal);
    const [code] = await exit;
    return code;
  }

  async stop() {
    await this.end();
    rmSync(this.data, { recursive: true, force: true });
  }

  /** The text of /metrics. */
  metricsText() {
    return fetch(`${ADMIN}/metrics`).then(response => response.text());
  }

  /** Samples as a map of `name{labels}` to number; a line that is no sample throws. */
  async metrics() {
    return parse(await this.metricsText());
  }

  /** Resident memory in KiB. */
  memory() {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.#child.pid}/status`, 'utf8'))[1]);
  }

  /** The call log's file. */
  get store() {
    return join(this.data, 'call-log.sqlite');
  }

  /** Every table of the call log's file, with its rows. */
  tables() {
    const store = new DatabaseSync(this.store, { readOnly: true, timeout: 2000 }); // the relay may be writing
    try {
      const names = store.prepare("select name from sqlite_master where type = 'table' order by name").all();
      return Object.fromEntries(names.map(({ name }) => [name, store.prepare(`select * from "${name}"`).all()]));
    } finally {
      store.close();
    }
  }
}

/** A strict parser of the Prometheus text format. */
export function parse(text) {
  const samples = new Map();
  const value = String.raw`[+-]?(?:Inf|NaN|\d+(?:\.\d+)?(?:e[+-]?\d+)?)`;
  const label = String.raw`[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*"`;
  const sample = new RegExp(String.raw`^([a-zA-Z_:][\w:]*(?:\{(?:${label}(?:,${label})*,?)?\})?) (${value})(?: \d+)?$`, 'i');
  for (const line of text.split('\n')) {
    if (line === '' || /^# (HELP|TYPE) [a-zA-Z_:][\w:]* \S/.test(line)) continue;
    const found = sample.exec(line);
    if (!found) throw new Error(`not a metric: ${line}`);
    samples.set(found[1], Number(found[2].replace(/inf/i, 'Infinity')));
  }
  return samples;
}
