// The load tester beside a browser: real Chromium in a call that is filled with synthetic peers, and what both tell.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, Peer, startChromium } from './harness/browsers.js';
import { HTTP, Relay } from './harness/relay.js';

const BINARY = join(dirname(process.env.SOTTO_BIN), 'sotto-loadtest');

let relay, chromium, folder;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-loadtest-'));
  [relay, chromium] = await Promise.all([Relay.start(), startChromium()]);
});
after(async () => {
  await chromium?.close();
  await relay?.stop();
  rmSync(folder, { recursive: true, force: true });
});

for (const engine of ['full', 'light']) {
  test(`a browser sees and hears the synthetic peers of the ${engine} engine in a loaded call`, async t => {
    const ana = await Peer.open(chromium);
    const { host, invite } = await ana.run('newLink');
    await ana.join(host, 'Ana', { tone: 700, colour: '#00c000' });
    const json = join(folder, `${engine}.json`);
    const tester = load(['meeting', '--relay', HTTP, '--link', invite, '--engine', engine, '--participants', '4',
      '--publishers', '3', '--clip', '--tone', '--duration', '14s', '--json', json]);
    const cameras = () => ana.run('remotes').then(all => all.filter(remote => remote.source === 'camera'));
    await eventually('three clips play', async () => {
      const shown = await cameras();
      return shown.length === 3 && shown.every(remote => remote.presented > 30);
    }, 12_000).catch(async error => assert.fail(`${error.message}\n${JSON.stringify(await ana.run('remotes'))}\n${tester.output}`));
    const before = await cameras();
    const began = Date.now();
    await sleep(3000);
    const later = await cameras();
    const seconds = (Date.now() - began) / 1000;
    for (const remote of later) {
      const rate = (remote.decoded - before.find(same => same.participant === remote.participant).decoded) / seconds;
      t.diagnostic(`${rate.toFixed(1)} frames/s decoded of a synthetic camera`);
      assert.ok(rate > 24, `${rate} frames/s of the clip's 30`);
      const pictures = await ana.run('frames', remote.participant);
      const brightness = pictures.map(({ rgb }) => Math.max(...rgb));
      assert.ok(Math.max(...brightness) > 40, 'the clip is not black');
    }
    const voices = (await ana.run('remotes')).filter(remote => remote.source === 'microphone');
    assert.equal(voices.length, 4, 'every peer is heard');
    for (const voice of voices) assert.ok(voice.energy > 0, 'its sound has energy');
    // every member's digest covers the counter of the state that Ana, as the host, has signed
    const told = await ana.run('log');
    assert.ok(told.some(({ type }) => type === 'host'), 'Ana holds the host link');
    assert.deepEqual(told.filter(({ type }) => type === 'error'), [], 'nobody is doubted, and all see one roster and state');
    await ana.page.screenshot({ path: `out/loadtest-${engine}.png`, fullPage: true });
    // 3 says that the machine was too busy for the tester, and that nothing else was wrong
    assert.ok([0, 3].includes(await tester.code), tester.output);
    await ana.close();

    const { overall, peers } = JSON.parse(readFileSync(json, 'utf8'));
    assert.equal(overall.decrypt_failures, 0, 'the peers open what the browser and the others sent');
    assert.equal(overall.mismatches, 0);
    const strangers = peers.flatMap(peer => peer.streams.filter(stream => stream.from === null && stream.stream === 'camera'));
    assert.equal(strangers.length, 4, "the browser's camera came to every peer");
    for (const { summary } of strangers) assert.ok(summary.frames > 100, `${summary.frames} frames of the browser`);
  });
}

/** Starts the load tester; what it prints is kept for messages. */
function load(args) {
  const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const tester = { output: '', code: once(child, 'exit').then(([code]) => code) };
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => (tester.output += text));
  return tester;
}
