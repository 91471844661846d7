// Coming and going: how fast a late joiner sees, what a slot shows when it changes hands, and what is left behind.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { allSee, eventually, isColour, median, Peer, percentile, startChromium } from './harness/browsers.js';
import { Relay } from './harness/relay.js';

const RED = { tone: 500, colour: '#c00000' };
const GREEN = { tone: 900, colour: '#00c000' };
const BLUE = { tone: 1400, colour: '#0000c0' };

let relay, chromium;
before(async () => {
  [relay, chromium] = await Promise.all([Relay.start(), startChromium()]);
});
after(async () => {
  await chromium?.close();
  await relay?.stop();
});

test('a late joiner sees within 2 s, and 20 who come and go leave nothing behind', async t => {
  const [ana, ben] = await Promise.all([Peer.open(chromium), Peer.open(chromium)]);
  const { host, invite } = await ana.run('newLink');
  await ana.join(host, 'Ana', RED);
  await ben.join(invite, 'Ben', GREEN);
  await allSee([ana, ben]);
  const gauges = () => relay.metrics().then(all => ['participants', 'publications', 'subscriptions', 'calls'].map(what => all.get(`sotto_${what}`)));
  const standing = await gauges();
  assert.deepEqual(standing.slice(0, 1), [2], 'the gauge counts the two who stay');
  const waits = [], memory = [];
  for (let n = 0; n < 20; n += 1) {
    const late = await Peer.open(chromium);
    await late.join(invite, 'Late', BLUE);
    const seen = await eventually('a late joiner sees Ana', async () =>
      (await late.run('remotes')).find(remote => remote.participant === ana.id && remote.source === 'camera' && remote.first));
    waits.push(seen.first - late.began);
    await late.run('leave');
    await late.close();
    memory.push(relay.memory());
  }
  const p95 = percentile(waits, 0.95);
  t.diagnostic(`first frame of a late joiner: median ${median(waits).toFixed()} ms, p95 ${p95.toFixed()} ms`);
  assert.ok(p95 <= 2000, `p95 is ${p95} ms of ${waits.map(Math.round)}`);
  await eventually('the gauges are where they began', async () => String(await gauges()) === String(standing), 5000)
    .catch(async error => assert.fail(`${error.message}: ${standing} became ${await gauges()}`));
  // the first joins may grow pools; from then on memory stands still
  const growth = median(memory.slice(-5)) - median(memory.slice(5, 10));
  t.diagnostic(`resident memory ${memory[0]} KiB at first, ${memory.at(-1)} KiB at last, ${growth} KiB from the middle on`);
  assert.ok(growth < 1024, `resident memory grew by ${growth} KiB: ${memory}`);
  const still = await Promise.all([ana.run('remotes'), ben.run('remotes')]);
  for (const list of still) assert.equal(list.filter(remote => remote.source === 'camera').length, 1);
  await Promise.all([ana.close(), ben.close()]);
});

test("a slot that changes its sender shows the new one within 1 s and never the old one's picture", async t => {
  // the filler takes the other pair of slots, so that only the one that the first leaves is free
  const [watcher, first, filler, second] = await Promise.all([1, 2, 3, 4].map(() => Peer.open(chromium)));
  const { host, invite } = await watcher.run('newLink');
  await watcher.join(host, 'Watcher', BLUE);
  await first.join(invite, 'First', RED);
  await filler.join(invite, 'Filler', BLUE);
  await allSee([watcher, first, filler]);
  await second.join(invite, 'Second', { silent: true });
  await eventually('all are on the roster', async () => (await watcher.run('participants')).length === 3);
  await watcher.run('watchSlots');
  await eventually('the slot shows red', async () => (await watcher.run('slots')).flat().some(frame => isColour(frame.rgb, RED.colour)));
  await first.run('leave');
  await eventually('the first one is gone', async () => (await watcher.run('participants')).length === 2);
  await sleep(500);
  const began = await second.run('turnOn', GREEN);
  const frames = await eventually('the new picture', async () => {
    const seen = await watcher.run('frames', second.id);
    return seen.length > 30 && seen;
  });
  t.diagnostic(`from turning the camera on to its first frame: ${(frames[0].at - began).toFixed()} ms`);
  assert.ok(frames[0].at - began <= 1000, `the new one shows after ${frames[0].at - began} ms`);
  for (const { rgb } of frames) assert.ok(isColour(rgb, GREEN.colour), `a frame of ${rgb} under the new name`);
  const shows = (list, colour, since = 0) => list.some(({ at, rgb }) => at > since && isColour(rgb, colour));
  const slots = (await watcher.run('slots')).filter(list => shows(list, GREEN.colour, began));
  assert.equal(slots.length, 1, 'one slot carries it');
  assert.ok(shows(slots[0], RED.colour), 'and it is the slot that was red before');
  const isBlank = rgb => Math.max(...rgb) < 10; // what a track that is switched off presents
  for (const { rgb } of slots[0].filter(frame => frame.at > began)) {
    assert.ok(isColour(rgb, GREEN.colour) || isBlank(rgb), `the slot still shows ${rgb}`);
  }
  await Promise.all([watcher, first, filler, second].map(peer => peer.close()));
});
