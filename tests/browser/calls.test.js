// Calls as people place them: what each side really sees and hears, and how the hop to the relay is protected.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { allSee, eventually, isColour, Peer, sameCode, startChromium, startFirefox } from './harness/browsers.js';
import { Relay } from './harness/relay.js';

const ANA = { tone: 500, colour: '#c00000' };
const BEN = { tone: 900, colour: '#00c000' };
const CLEO = { tone: 1400, colour: '#0000c0' };
const TONES = [ANA, BEN, CLEO].map(each => each.tone);
/** Seconds over which frames are counted. */
const WATCHED = 10;

let relay, chromium, firefox;
before(async () => {
  [relay, chromium, firefox] = await Promise.all([Relay.start(), startChromium(), startFirefox()]);
});
after(async () => {
  await Promise.allSettled([chromium?.close(), firefox?.close()]);
  await relay?.stop();
});

test('two people in Chromium, then a third in Firefox, see and hear each other', async t => {
  const [ana, ben] = await Promise.all([Peer.open(chromium), Peer.open(chromium)]);
  const { host, invite } = await ana.run('newLink');
  await ana.join(host, 'Ana', ANA);
  await ben.join(invite, 'Ben', BEN);
  await carries([ana, ben], t);
  const alone = await ana.run('code');
  const cleo = await Peer.open(firefox);
  await cleo.join(invite, 'Cleo', CLEO);
  await carries([ana, ben, cleo], t);
  assert.notEqual(await ana.run('code'), alone, 'a verification code covers the whole roster');
  await Promise.all([ana, ben, cleo].map(peer => peer.close()));
});

test('one in Chromium and one in Firefox see and hear each other', async t => {
  const [ana, cleo] = await Promise.all([Peer.open(chromium), Peer.open(firefox)]);
  const { host, invite } = await cleo.run('newLink');
  await cleo.join(host, 'Cleo', CLEO);
  await ana.join(invite, 'Ana', ANA);
  await carries([ana, cleo], t);
  await Promise.all([ana.close(), cleo.close()]);
});

/** Holds every direction of the call to what a person would expect of it. */
async function carries(peers, t) {
  await allSee(peers);
  const before = await Promise.all(peers.map(peer => peer.run('remotes')));
  await sleep(WATCHED * 1000);
  const now = await Promise.all(peers.map(peer => peer.run('remotes')));
  for (const [n, peer] of peers.entries()) {
    for (const other of peers.filter(each => each !== peer)) {
      const camera = list => list.find(remote => remote.participant === other.id && remote.source === 'camera');
      const rate = (camera(now[n]).decoded - camera(before[n]).decoded) / WATCHED;
      t.diagnostic(`${peer.name} sees ${other.name} at ${rate} frames/s`);
      assert.ok(rate >= 15, `${peer.name} sees ${other.name} at ${rate} frames/s`);
      const { rgb } = camera(now[n]).last;
      assert.ok(isColour(rgb, other.colour), `${peer.name} sees ${rgb} where ${other.name} shows ${other.colour}`);
      await hears(peer, other);
    }
    for (const { cipher, dtls } of await peer.run('transports')) {
      assert.equal(dtls, 'connected');
      assert.match(cipher, /AEAD_AES_(128|256)_GCM/, `${peer.name}'s hop`);
    }
  }
  await sameCode(peers);
}

/** The sender's tone stands out of what is received, and nobody else's is in it. */
function hears(peer, other) {
  let levels;
  return eventually(`${peer.name} hears ${other.name}`, async () => {
    levels = await peer.run('levels', other.id, TONES);
    const own = levels?.[TONES.indexOf(other.tone)];
    return own > -50 && levels.every((level, n) => TONES[n] === other.tone || level < own - 25);
  }, 3000).catch(error => assert.fail(`${error.message}: dB at ${TONES} Hz are ${levels}`));
}
