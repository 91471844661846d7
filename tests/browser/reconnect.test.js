// The relay dies without a word and comes back: so does the call, by itself.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { allSee, eventually, Peer, sameCode, startChromium } from './harness/browsers.js';
import { Relay } from './harness/relay.js';

let relay, chromium;
before(async () => {
  [relay, chromium] = await Promise.all([Relay.start(), startChromium()]);
});
after(async () => {
  await chromium?.close();
  await relay?.stop();
});

test('after the relay was killed and started again, both see each other within 5 s', async t => {
  const peers = await Promise.all([Peer.open(chromium), Peer.open(chromium)]);
  const { host, invite } = await peers[0].run('newLink');
  await peers[0].join(host, 'Ana', { tone: 500, colour: '#c00000' });
  await peers[1].join(invite, 'Ben', { tone: 900, colour: '#00c000' });
  await allSee(peers);
  await relay.end('SIGKILL');
  await sleep(1000);
  await relay.launch();
  const up = Date.now();
  for (const peer of peers) await eventually(`${peer.name} is connected`, async () => (await peer.run('state')) === 'connected', 20_000);
  await Promise.all(peers.map(async (peer, n) => {
    await eventually(`${peer.name} sees again`, async () => {
      const other = await peers[1 - n].run('id');
      return (await peer.run('frames', other, up)).length > 5;
    }, 20_000);
  }));
  t.diagnostic(`media was back ${Date.now() - up} ms after the relay`);
  assert.ok(Date.now() - up <= 5000 + 500, `media was back only after ${Date.now() - up} ms`);
  await sameCode(peers);
  await Promise.all(peers.map(peer => peer.close()));
});

test('whose signaling is cut in a call of three sees and hears both others again, and they see and hear it', async t => {
  const peers = await Promise.all([Peer.open(chromium), Peer.open(chromium), Peer.open(chromium)]);
  const { host, invite } = await peers[0].run('newLink');
  for (const [n, [name, tone, colour]] of [['Ana', 500, '#c00000'], ['Ben', 900, '#00c000'], ['Cleo', 1400, '#0000c0']].entries()) {
    await peers[n].join(n ? invite : host, name, { tone, colour });
  }
  await allSee(peers);
  const ben = peers[1];
  await ben.run('cut');
  const cut = Date.now();
  await eventually('Ben has another id', async () => (await ben.run('id')) !== ben.id);
  ben.id = await ben.run('id');
  await allSee(peers);
  const seen = Date.now();
  await Promise.all(peers.flatMap(peer => peers.filter(other => other !== peer).map(other =>
    eventually(`${peer.name} hears ${other.name}`, async () => (await peer.run('levels', other.id, [other.tone]))?.[0] > -60))));
  t.diagnostic(`all saw all ${seen - cut} ms after the cut`);
  for (const peer of peers) {
    for (const other of peers.filter(each => each !== peer)) {
      await eventually(`${peer.name} has fresh frames of ${other.name}`, async () => (await peer.run('frames', other.id, seen)).length > 5);
    }
  }
  await sameCode(peers);
  await Promise.all(peers.map(peer => peer.close()));
});
