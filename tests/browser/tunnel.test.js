// Two people in a tunnel that the relay carries and cannot open.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { allSee, eventually, isColour, Peer, sameCode, startChromium, startFirefox } from './harness/browsers.js';
import { ANA, BEN, close, heardOnce, hears, inTunnel, isForwarded, pair, rates, told, TUNNEL } from './harness/pair.js';
import { Relay } from './harness/relay.js';

/** DTLS 1.3 on the wire (RFC 9147, section 5.3): the version that getStats tells. */
const DTLS_1_3 = 'FEFC';

let relay, chromium, firefox;
before(async () => {
  [relay, chromium, firefox] = await Promise.all([Relay.start(TUNNEL), startChromium(), startFirefox()]);
});
after(async () => {
  await Promise.allSettled([chromium?.close(), firefox?.close()]);
  await relay?.stop();
});

const carried = metrics => metrics.get('sotto_sent_packets_total{protocol="tunnel"}');
const forwarded = metrics => ['audio', 'video', 'rtcp'].map(what => metrics.get(`sotto_sent_packets_total{protocol="${what}"}`) ?? 0);

for (const [where, browsers] of [['two in Chromium', () => [chromium, chromium]], ['one in Chromium and one in Firefox', () => [chromium, firefox]]]) {
  test(`${where} talk through a tunnel: DTLS 1.3 between the browsers, and no key at the relay`, async t => {
    const handshakes = async () => (await relay.metrics()).get('sotto_dtls_handshakes_total{outcome="completed"}');
    const { ana, ben } = await pair(browsers());
    const peers = [ana, ben];
    await allSee(peers);
    const began = Date.now();
    await inTunnel(peers);
    t.diagnostic(`in the tunnel ${Date.now() - began} ms after both saw each other`);
    await eventually('the relay has nothing of theirs but the tunnel', async () => {
      const all = await relay.metrics();
      return ['participants', 'publications', 'subscriptions'].every(what => all.get(`sotto_${what}`) === 0) && all.get('sotto_tunnels') === 1;
    });
    const [before, hands] = [await relay.metrics(), await handshakes()];
    const shown = await rates(peers, 8);
    const now = await relay.metrics();
    t.diagnostic(`shown at ${shown.map(rate => rate.toFixed(1))} frames/s; ${carried(now) - carried(before)} datagrams through the tunnel in 8 s`);
    for (const [n, rate] of shown.entries()) assert.ok(rate >= 15, `${peers[n].name} sees ${rate} frames/s`);
    assert.ok(carried(now) - carried(before) > 1000, 'the media went through the tunnel');
    assert.deepEqual(forwarded(now), forwarded(before), 'and nothing was forwarded');
    assert.equal(await handshakes(), hands, 'the relay shook no hands');
    for (const peer of peers) {
      const states = (await peer.run('connections')).map(({ state }) => state).filter(state => state !== 'closed');
      assert.deepEqual(states, ['connected'], `${peer.name} has one connection`);
      const [transport] = await peer.run('transports');
      assert.equal(transport.dtls, 'connected');
      assert.equal(transport.version, DTLS_1_3, `${peer.name} speaks DTLS 1.3`);
      assert.match(transport.cipher, /AES/, `${peer.name}'s cipher`);
    }
    const [a, b] = await Promise.all(peers.map(async peer => (await peer.run('certificates'))[0]));
    assert.deepEqual([a.remote, b.remote], [b.local, a.local], 'the far end of each is the other browser');
    assert.ok(a.seen, 'as Chromium took it from DTLS');
    await Promise.all([hears(ana, ben), hears(ben, ana), sameCode(peers)]);
    for (const peer of peers) await heardOnce(peer, t);
    await close(ana, ben);
  });
}

test('a tunnel between Chromium and Firefox comes up at the first attempt, whichever of them offers it', async t => {
  const led = new Set();
  for (let n = 0; n < 12 && led.size < 2; n += 1) { // a coin is tossed each time, by their ids
    const { ana, ben } = await pair([chromium, firefox]);
    await allSee([ana, ben]);
    await inTunnel([ana, ben]);
    const open = await ana.run('connections');
    assert.equal(open.length, 2, 'one forwarded connection and one tunnel');
    led.add(open.find(({ state }) => state === 'connected').offered ? 'Chromium' : 'Firefox');
    await close(ana, ben);
  }
  t.diagnostic(`offered by ${[...led].join(' and ')}`);
  assert.equal(led.size, 2, 'each of them offered');
});

test('muting, sharing a screen, chat and statistics are the same in the tunnel', async () => {
  const { ana, ben } = await pair([chromium, chromium]);
  await allSee([ana, ben]);
  await inTunnel([ana, ben]);
  await hears(ben, ana);
  await ana.run('setMicrophone', false);
  await eventually('Ben is told that Ana is muted', async () => (await ben.run('microphoneOf', ana.id)) === false);
  await eventually('Ana is silent', async () => (await ben.run('levels', ana.id, [ANA.tone]))[0] < -80);
  await ana.run('setMicrophone', true);
  await hears(ben, ana);
  await ana.run('share', { tone: 1400, colour: '#0000c0' });
  await eventually('Ben sees the screen', async () => (await ben.run('frames', ana.id, 0, 'screen')).some(({ rgb }) => isColour(rgb, '#0000c0')));
  assert.deepEqual(await ben.run('published', ana.id), ['camera', 'microphone', 'screen', 'screen-audio']);
  await ana.run('share', null);
  await eventually('the screen is gone', async () => (await ben.run('remotes')).every(({ source }) => !source.startsWith('screen')));
  assert.deepEqual(await ben.run('published', ana.id), ['camera', 'microphone']);
  await ana.run('setCamera', false);
  await eventually('the camera is gone', async () => (await ben.run('remotes')).every(({ source }) => source !== 'camera'));
  const on = await ana.run('turnOn', ANA);
  await eventually('the camera is back', async () => (await ben.run('frames', ana.id, on)).length > 10);
  await ben.run('sendChat', 'through the relay, sealed');
  await eventually('Ana reads it', async () => (await ana.run('log')).some(({ type, detail }) => type === 'chat' && detail.message.text === 'through the relay, sealed'));
  await ben.run('show', ana.id, 'camera', 0);
  await sleep(700);
  const hidden = await ben.run('now');
  await sleep(1000);
  assert.ok((await ben.run('frames', ana.id, hidden)).length <= 2, 'a picture that is not shown is not sent');
  await ben.run('show', ana.id, 'camera', 360);
  await eventually('it is sent again', async () => (await ben.run('frames', ana.id, hidden)).length > 10);
  const bytes = await ben.run('stats');
  await eventually('the statistics are of what is in use', async () => (await ben.run('stats')) > bytes);
  assert.deepEqual([await ana.run('path'), await ben.run('path')], ['tunnel', 'tunnel'], 'through all of that');
  await close(ana, ben);
});

test('both restart ICE at once and the tunnel goes on', async () => {
  const { ana, ben } = await pair([chromium, chromium]);
  await allSee([ana, ben]);
  await inTunnel([ana, ben]);
  for (let n = 0; n < 3; n += 1) {
    await Promise.all([ana.run('changeNetwork'), ben.run('changeNetwork')]);
    await sleep(1500);
    for (const rate of await rates([ana, ben], 2)) assert.ok(rate >= 5, `${rate} frames/s after restart ${n}: ${await told(ana)}\n${await told(ben)}`);
    assert.deepEqual([await ana.run('path'), await ben.run('path')], ['tunnel', 'tunnel'], await told(ana));
  }
  await close(ana, ben);
});

test('whoever leaves and comes back, or loses the signaling, ends up in the tunnel again', async () => {
  const { ana, ben, invite } = await pair([chromium, chromium]);
  await allSee([ana, ben]);
  await inTunnel([ana, ben]);
  await ben.run('leave');
  await isForwarded([ana], 3000);
  const again = await Peer.open(chromium);
  await again.join(invite, 'Ben', BEN);
  await allSee([ana, again]);
  await inTunnel([ana, again]);
  await again.run('cut');
  await eventually('Ben has another id', async () => (await again.run('id')) !== again.id);
  again.id = await again.run('id');
  await allSee([ana, again]);
  await inTunnel([ana, again]);
  await Promise.all([hears(ana, again), hears(again, ana), sameCode([ana, again])]);
  await close(ana, ben, again);
});

test('who turned the tunnel off, and whose operator did, stay forwarded', async () => {
  const { ana, ben } = await pair([chromium, chromium], [{}, { tunnel: false }]);
  await allSee([ana, ben]);
  await sleep(3000);
  for (const peer of [ana, ben]) {
    assert.equal(await peer.run('path'), 'forwarded');
    assert.ok(!(await peer.run('log')).some(({ type }) => type === 'path'));
    assert.equal((await peer.run('connections')).length, 1, 'no second connection was even tried');
  }
  await close(ana, ben);
  await relay.stop();
  relay = await Relay.start({ ...TUNNEL, SOTTO_TUNNEL: 'off' });
  const second = await pair([chromium, chromium]);
  await allSee([second.ana, second.ben]);
  await sleep(3000);
  for (const peer of [second.ana, second.ben]) assert.equal((await peer.run('connections')).length, 1);
  await close(second.ana, second.ben);
  await relay.stop();
  relay = await Relay.start(TUNNEL);
});
