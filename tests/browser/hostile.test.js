// Those whom the encryption is for: a participant without the link's secret, and a relay that alters or reads media.
// The altered relay is the real one with the feature `probe`, which SOTTO_PROBE turns on.
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { allSee, eventually, Peer, sameCode, startChromium } from './harness/browsers.js';
import { startProxy } from './harness/proxy.js';
import { Relay } from './harness/relay.js';

const HOSTS = { SOTTO_HOST: '127.0.0.1:8080,127.0.0.1:8081' };
const ANA = { tone: 500, colour: '#c00000' };
const BEN = { tone: 900, colour: '#00c000' };
const MALLORY = { tone: 1400, colour: '#0000c0' };

let chromium;
before(async () => { chromium = await startChromium(); });
after(() => chromium?.close());

/** Runs a test with a relay and, where modules are to be altered, a proxy. */
function withRelay(name, env, changes, run) {
  test(name, async t => {
    const relay = await Relay.start({ ...HOSTS, ...env });
    const proxy = await startProxy(changes);
    try {
      await run(t, relay, proxy);
      proxy.check();
    } finally {
      proxy.close();
      await Promise.all(chromium.contexts().map(context => context.close()));
      await relay.stop();
    }
  });
}

withRelay('one without the psk is keyed by nobody, decodes nothing, and is named to the others', {}, {
  '/e2ee/link.js': [["hkdf(crypto, root, 'psk', 32)", "hkdf(crypto, root, 'psx', 32)"]],
  // and asks for everyone's media, without regard to who proved themselves
  '/sdk/roster.js': [
    ['if (!this.#authentic.has(id) || ', 'if ('],
    ['this.#authentic.clear();', `this.#authentic.clear();
      setTimeout(() => { for (const [id, all] of this.#connected) for (const stream of all) this.#want(id, stream); }, 1000);`],
  ],
  '/sdk/slots.js': [['await this.#hooks.point(', 'this.#hooks.point(']],
}, async (t, relay, proxy) => {
  const [ana, ben] = await Promise.all([Peer.open(chromium), Peer.open(chromium)]);
  const { host, invite } = await ana.run('newLink');
  await ana.join(host, 'Ana', ANA);
  await ben.join(invite, 'Ben', BEN);
  await allSee([ana, ben]);
  const code = await sameCode([ana, ben]);
  const mallory = await Peer.open(chromium, proxy.origin);
  await mallory.join(proxy.link(invite), 'Mallory', MALLORY);
  for (const peer of [ana, ben]) {
    const told = await eventually(`${peer.name} is told`, async () =>
      (await peer.run('log')).find(({ type, detail }) => type === 'error' && detail.error.code === 'unverified'));
    t.diagnostic(`${peer.name} is told: ${told.detail.error.message}`);
    assert.match(told.detail.error.message, /Mallory/);
  }
  const arrived = await eventually('the relay forwards to Mallory', async () => {
    const bytes = (await mallory.run('inbound')).filter(stream => stream.kind === 'video').map(stream => stream.packets);
    return bytes.some(packets => packets > 50) && bytes;
  }, 15_000);
  t.diagnostic(`video packets that reached Mallory: ${arrived}`);
  await sleep(2000);
  for (const stream of await mallory.run('inbound')) assert.ok(!stream.decoded, `Mallory decoded ${stream.decoded} frames`);
  assert.deepEqual(await mallory.run('remotes'), []);
  for (const peer of [ana, ben]) {
    const seen = await peer.run('remotes');
    assert.ok(seen.every(remote => remote.participant !== mallory.id), `${peer.name} shows Mallory`);
    assert.deepEqual((await peer.run('participants')).map(each => each.name), [peer === ana ? 'Ben' : 'Ana']);
    assert.equal(await peer.run('code'), code, 'the code is of those who proved themselves');
  }
});

withRelay('a relay that flips payload bytes yields no picture and no sound, and it is said whose', { SOTTO_PROBE: 'flip' }, {}, async t => {
  const [ana, ben] = await Promise.all([Peer.open(chromium), Peer.open(chromium)]);
  const { host, invite } = await ana.run('newLink');
  await ana.join(host, 'Ana', ANA);
  await ben.join(invite, 'Ben', BEN);
  await ben.run('watchSlots').catch(() => {});
  const media = await eventually('altered media arrives', async () => {
    const streams = await ben.run('inbound');
    return ['audio', 'video'].every(kind => streams.some(each => each.kind === kind && each.packets > 60)) && streams;
  }, 15_000);
  t.diagnostic(media.map(({ kind, packets, decoded }) => `${kind}: ${packets} packets, ${decoded ?? 0} frames decoded`).join('; '));
  await ben.run('watchSlots');
  await sleep(3000);
  for (const stream of await ben.run('inbound')) {
    assert.ok(!stream.decoded, `${stream.decoded} frames of ${stream.kind} were decoded`);
    assert.ok(!(stream.energy > 0), `sound of energy ${stream.energy} came out`);
  }
  // a track that is switched off presents black, and nothing else may be seen
  for (const { rgb } of (await ben.run('slots')).flat()) assert.deepEqual(rgb, [0, 0, 0], 'a frame was presented');
  assert.deepEqual(await ben.run('remotes'), []);
  const told = (await ben.run('log')).filter(({ type, detail }) => type === 'error' && detail.error.code === 'unverified');
  assert.ok(told.some(({ detail }) => /Ana.*video/.test(detail.error.message)), `told: ${JSON.stringify(told)}`);
});

const PLAIN = "const sealed = await core.protect(stream, codec, new Uint8Array(frame.data));";
const DUMP = join(tmpdir(), `sotto-probe-${process.pid}`);
withRelay('what the relay holds after its own decryption is SFrame, and nothing of it is what was said or shown', { SOTTO_PROBE: `dump:${DUMP}` }, {
  '/e2ee/worker.js': [[PLAIN, `new BroadcastChannel('plain').postMessage([codec, frame.data.slice(0)]); ${PLAIN}`]],
}, async (t, relay, proxy) => {
  const [ana, ben] = await Promise.all([Peer.open(chromium, proxy.origin), Peer.open(chromium)]);
  const { host, invite } = await ben.run('newLink');
  await ana.run('collectPlain');
  await ben.join(host, 'Ben', { silent: true });
  await ana.join(proxy.link(invite), 'Ana', ANA);
  await eventually('Ben sees Ana', async () => (await ben.run('frames', ana.id)).length > 60);
  const frames = (await ana.run('plain')).map(([codec, base64]) => [codec, Buffer.from(base64, 'base64')]);
  await sleep(200);
  const payloads = readDump(DUMP);
  rmSync(DUMP);
  t.diagnostic(`${frames.length} frames known in the clear, ${payloads.length} payloads captured`);
  for (const codec of ['opus', 'vp8']) {
    const samples = frames.filter(([its]) => its === codec).flatMap(([, frame]) => cut(frame, codec));
    assert.ok(samples.length > 50, `only ${samples.length} samples of ${codec}`);
    const found = samples.filter(sample => payloads.some(payload => payload.includes(sample)));
    assert.equal(found.length, 0, `${found.length} of ${samples.length} samples of ${codec} are in the capture`);
  }
  // what is left clear of a key frame does show up, so the capture is of these very frames
  const keys = payloads.filter(payload => !(payload[0] & 1) && payload.subarray(3, 6).toString('hex') === '9d012a');
  assert.ok(keys.length > 0, 'key frames were captured');
  for (const payload of keys) assert.equal(sframe(payload.subarray(10)).stream, 1, 'the KID of a picture names the camera');
  const voice = payloads.filter(payload => payload.length < 400).map(sframe).filter(({ kid, stream }) => stream === 0 && kid >> 16n < 64n);
  assert.ok(voice.length > 50, `${voice.length} payloads are SFrame of a microphone`);
  for (const [n, { kid, counter, room }] of voice.entries()) {
    assert.ok(room >= 16, 'there is room for the tag');
    if (n > 0 && voice[n - 1].kid === kid) assert.ok(counter > voice[n - 1].counter, 'counters rise');
  }
});

/** Payloads of the dump, each behind its length in four bytes, big-endian; one that is still being written is left out. */
function readDump(path) {
  const bytes = readFileSync(path), payloads = [];
  for (let at = 0; at + 4 <= bytes.length;) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end <= bytes.length) payloads.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return payloads;
}

/** Pieces of 12 bytes of a frame, without those that are left clear, and without runs of one byte that chance may repeat. */
function cut(frame, codec) {
  const clear = codec === 'vp8' ? (frame[0] & 1 ? 3 : 10) : 0;
  const pieces = [];
  for (let at = clear; at + 12 <= frame.length && pieces.length < 8; at += 12) {
    const piece = frame.subarray(at, at + 12);
    if (new Set(piece).size > 6) pieces.push(piece);
  }
  return pieces;
}

/** The SFrame header at the start of a payload (RFC 9605, section 4.3). */
function sframe(payload) {
  let at = 1;
  const field = (extended, short) => {
    if (!extended) return BigInt(short);
    let value = 0n;
    for (let n = 0; n <= short; n += 1) value = (value << 8n) | BigInt(payload[at++]);
    return value;
  };
  const kid = field(payload[0] & 0x80, (payload[0] >> 4) & 7);
  const counter = field(payload[0] & 0x08, payload[0] & 7);
  return { kid, counter, stream: Number(kid & 0xffn), room: payload.length - at };
}
