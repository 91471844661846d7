// Lips: what is seen and what is heard of one participant belong together.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { allSee, median, Peer, startChromium } from './harness/browsers.js';
import { Relay } from './harness/relay.js';

/** Milliseconds by which sound may be apart from the picture. */
const APART = 80;

let relay, chromium;
before(async () => {
  [relay, chromium] = await Promise.all([Relay.start(), startChromium()]);
});
after(async () => {
  await chromium?.close();
  await relay?.stop();
});

test('a flash and a beep of one instant are presented within 80 ms of each other', async t => {
  const [ana, ben] = await Promise.all([Peer.open(chromium), Peer.open(chromium)]);
  const { host, invite } = await ana.run('newLink');
  await ana.join(host, 'Ana', { lips: true, tone: 1000 });
  await ben.join(invite, 'Ben', { tone: 500, colour: '#00c000' });
  await allSee([ana, ben]);
  await sleep(3000); // sender reports have come, and the jitter buffers have settled
  const watching = ben.run('lips', ana.id, 11_000);
  for (let n = 0; n < 9; n += 1) {
    await sleep(1000);
    await ana.run('flash');
  }
  const { flashes, beeps } = await watching;
  const apart = flashes.flatMap(flash => beeps.filter(beep => Math.abs(beep - flash) < 400).map(beep => beep - flash));
  t.diagnostic(`sound behind picture by ${apart.map(Math.round).join(', ')} ms`);
  assert.ok(apart.length >= 6, `only ${apart.length} pairs of ${flashes.length} flashes and ${beeps.length} beeps`);
  assert.ok(Math.abs(median(apart)) <= APART, `sound and picture are ${median(apart)} ms apart`);
  await Promise.all([ana.close(), ben.close()]);
});
