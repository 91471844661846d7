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
  await sleep(10_000); // sender reports have come, and the jitter buffers have settled: both browsers move them slowly
  const watching = [ana.run('lips', 'self', 11_000), ben.run('lips', ana.id, 11_000)];
  for (let n = 0; n < 9; n += 1) {
    await sleep(1000);
    await ana.run('flash');
  }
  // how far they are apart in the stream that Ana sends, measured by the same means, is not the call's doing
  const [sent, received] = (await Promise.all(watching)).map(apart);
  t.diagnostic(`sound behind picture by ${sent.map(Math.round)} ms where it is made, by ${received.map(Math.round)} ms where it arrives`);
  for (const pairs of [sent, received]) assert.ok(pairs.length >= 6, `only ${pairs.length} of 9 flashes and beeps were seen`);
  const playout = (await ben.run('remotes')).filter(({ playout }) => playout).map(({ source, playout }) => `${source} ${playout}`);
  t.diagnostic(`playing at the sender's times ${playout}`);
  const added = median(received) - median(sent);
  assert.ok(Math.abs(added) <= APART, `sound and picture are ${added} ms apart`);
  await Promise.all([ana.close(), ben.close()]);
});

function apart({ flashes, beeps }) {
  return flashes.flatMap(flash => beeps.filter(beep => Math.abs(beep - flash) < 400).map(beep => beep - flash));
}
