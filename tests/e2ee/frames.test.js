import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { concat } from '../../web/e2ee/bytes.js';
import { clearBytes, codecOf } from '../../web/e2ee/frame.js';
import { decodeHeader, encodeHeader } from '../../web/e2ee/sframe.js';
import { World, film, opus, point, text, vp8 } from './world.js';

async function pair() {
  const world = await World.open();
  return [world, await world.join('Ana'), await world.join('Ben')];
}

const headerOf = (sealed, clear) => decodeHeader(sealed, clear);

test('rule 17: the KID is generation, step and stream, and every stream has its own', async () => {
  const [, ana] = await pair();
  const streams = { microphone: 0, camera: 1, screen: 2, 'screen-audio': 3 };
  for (const [stream, number] of Object.entries(streams)) {
    const { kid, counter } = headerOf(await ana.core.protect(stream, 'vp9', opus()), 0);
    assert.equal(Number(kid & 0xffn), number);
    assert.equal(counter, 0n);
  }
});

test('rule 17: counters are taken before anything is awaited, and never repeat', async () => {
  const [, ana] = await pair();
  const sealed = await Promise.all(Array.from({ length: 300 }, () => ana.core.protect('camera', 'vp9', opus())));
  const counters = sealed.map(frame => headerOf(frame, 0).counter);
  assert.deepEqual(counters, counters.map((_, at) => BigInt(at)), 'in the order of the calls');
});

test('rule 17: the layers of a simulcast share one counter, and any of them opens', async () => {
  const [, ana, ben] = await pair();
  const slot = point(ben, ana);
  const layers = [];
  for (let frame = 0; frame < 60; frame++) {
    for (let layer = 0; layer < 3; layer++) {
      const sealed = await ana.core.protect('camera', 'vp8', vp8(frame % 20 === 0, `frame ${frame} of layer ${layer}`));
      if (layer === Math.floor(frame / 20)) layers.push(sealed);
    }
  }
  for (const [at, sealed] of layers.entries()) assert.ok(await slot.open('vp8', sealed, at % 20 === 0), `frame ${at}`);
  assert.equal(ben.core.counters.replay, undefined);
});

test('rule 17: a reconnection starts a new generation, so that no counter comes again', async () => {
  const [world, ana, ben] = await pair();
  const before = headerOf(await ana.core.protect('camera', 'vp9', opus()), 0);
  await world.connect(ana);
  await world.pass(2_000);
  const after = headerOf(await ana.core.protect('camera', 'vp9', opus()), 0);
  assert.ok(after.kid >> 16n > before.kid >> 16n);
  assert.ok(await film(ana, point(ben, ana)));
});

test('rule 17: a frame opens once', async () => {
  const [, ana, ben] = await pair();
  const slot = point(ben, ana);
  const sealed = await ana.core.protect('camera', 'vp8', vp8(true));
  assert.ok(await slot.open('vp8', sealed.slice(), true));
  assert.equal(await slot.open('vp8', sealed.slice(), true), null);
  const [first, second] = await Promise.all(Array(2).fill(await ana.core.protect('camera', 'vp8', vp8(false)))
    .map(frame => slot.open('vp8', frame.slice(), false)));
  assert.ok(!first !== !second, 'nor twice at the same time');
});

test('rule 18: the clear bytes, the header and the sender are authenticated', async () => {
  const [, ana, ben] = await pair();
  const slot = point(ben, ana);
  assert.ok(await film(ana, slot));
  const sealed = await ana.core.protect('camera', 'vp8', vp8(false));
  for (let at = 0; at < sealed.length; at++) {
    const changed = sealed.slice();
    changed[at] ^= 0x40;
    assert.equal(await slot.open('vp8', changed, false), null, `byte ${at}`);
  }
  assert.ok(await slot.open('vp8', sealed, false), 'the frame itself still opens');
});

test('rule 18: on the wire stand the clear bytes, the header, the ciphertext and 16 bytes of tag', async () => {
  const [, ana] = await pair();
  const frame = vp8(true, 'recognisable');
  const sealed = await ana.core.protect('camera', 'vp8', frame);
  const { length } = headerOf(sealed, 10);
  assert.deepEqual(sealed.subarray(0, 10), frame.subarray(0, 10));
  assert.equal(sealed.length, frame.length + length + 16);
  assert.ok(!text(sealed).includes('recog'));
});

test('rule 19: VP8 leaves 10 bytes of a key frame and 3 of a delta frame clear, VP9 and Opus none', () => {
  assert.equal(clearBytes('vp8', vp8(true)), 10);
  assert.equal(clearBytes('vp8', vp8(false)), 3);
  assert.equal(clearBytes('vp9', vp8(true)), 0);
  assert.equal(clearBytes('opus', opus()), 0);
  assert.deepEqual(['video/VP8', 'video/vp9', 'audio/opus'].map(codecOf), ['vp8', 'vp9', 'opus']);
});

test('rule 19: a frame too short for its codec, or of another codec, is not sent', async () => {
  const [, ana] = await pair();
  assert.equal(await ana.core.protect('camera', 'vp8', vp8(true).slice(0, 9)), null);
  assert.equal(await ana.core.protect('camera', 'vp8', vp8(false).slice(0, 2)), null);
  assert.equal(await ana.core.protect('microphone', 'opus', new Uint8Array(0)), null);
  for (const mime of ['video/AV1', 'video/H264', 'video/rtx', 'audio/red', '', undefined]) assert.equal(codecOf(mime), null);
});

test('rule 19: what is opened is what was protected', async () => {
  const [, ana, ben] = await pair();
  for (const [stream, codec, frame] of [['camera', 'vp8', vp8(true)], ['screen', 'vp9', opus()], ['microphone', 'opus', opus()]]) {
    const slot = point(ben, ana, stream);
    assert.deepEqual(await slot.open(codec, await ana.core.protect(stream, codec, frame), true), frame);
  }
});

test("rule 20: another member's frames do not open under the name of the slot's owner", async () => {
  const world = await World.open();
  const [ana, ben, cy] = [await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
  const slot = point(cy, ana);
  assert.ok(await film(ana, slot));
  assert.equal(await film(ben, slot), null);
  assert.equal(await film(cy, slot), null, 'nor our own, sent back');
});

test('rule 20: a frame of another stream does not open, though the sender is right', async () => {
  const [, ana, ben] = await pair();
  const slot = point(ben, ana, 'camera');
  assert.equal(await slot.open('vp8', await ana.core.protect('screen', 'vp8', vp8(true)), true), null);
  assert.equal(ben.core.counters.stream, 1);
  assert.equal(await point(ben, ana, 'microphone').open('opus', await ana.core.protect('screen-audio', 'opus', opus()), true), null);
});

test('rule 20: a forged KID opens nothing', async () => {
  const [, ana, ben] = await pair();
  const slot = point(ben, ana);
  const sealed = await ana.core.protect('camera', 'vp8', vp8(true));
  const { kid, counter, length } = headerOf(sealed, 10);
  for (const forged of [kid + 0x100n, kid + 0x10000n, kid | (1n << 48n), (1n << 64n) - 1n, kid + 0x900n]) {
    const header = encodeHeader(forged, counter);
    const frame = concat(sealed.slice(0, 10), header, sealed.slice(10 + length));
    assert.equal(await slot.open('vp8', frame, true), null);
  }
  assert.ok(await slot.open('vp8', sealed, true), 'and changes nothing');
});

test('rule 20: after a second of nothing else, the page is told whose frames cannot be verified', async () => {
  const [world, ana, ben] = await pair();
  const slot = point(ben, ana);
  assert.ok(await film(ana, slot));
  for (let frame = 0; frame < 20; frame++) {
    await slot.open('vp8', vp8(true), true);
    if (frame === 9) assert.equal(ben.last('unverified'), undefined);
    await world.pass(60);
  }
  const { participant, name, stream } = ben.last('unverified');
  assert.deepEqual([participant, name, stream], [ana.id, 'Ana', 'camera']);
  assert.equal(ben.all('unverified').length, 1, 'once');
  ben.forget();
  assert.ok(await film(ana, slot));
  assert.equal(ben.last('live').participant, ana.id, 'and when it can be again');
});

test('rule 20: a few bad frames among good ones are dropped without a word', async () => {
  const [world, ana, ben] = await pair();
  const slot = point(ben, ana);
  for (let frame = 0; frame < 50; frame++) {
    assert.ok(await film(ana, slot));
    assert.equal(await slot.open('vp8', vp8(true), true), null);
    await world.pass(100);
  }
  assert.equal(ben.last('unverified'), undefined);
});

test('rule 20: frames that come twice while nothing else does are no alarm', async () => {
  const [world, ana, ben] = await pair();
  const slot = point(ben, ana);
  const sealed = await ana.core.protect('camera', 'vp8', vp8(true));
  assert.ok(await slot.open('vp8', sealed.slice(), true));
  for (let frame = 0; frame < 20; frame++) {
    assert.equal(await slot.open('vp8', sealed.slice(), true), null);
    await world.pass(200);
  }
  assert.equal(ben.last('unverified'), undefined);
});

test('rule 20: a slot that changes its sender shows the new one from a key frame on, never the old one', async () => {
  const world = await World.open();
  const [ana, ben, cy] = [await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
  const slot = point(cy, ana, 'camera', 'slot');
  assert.ok(await film(ana, slot));
  cy.forget();
  const late = await ana.core.protect('camera', 'vp8', vp8(true));
  const underWay = await ana.core.protect('camera', 'vp8', vp8(true));
  const opening = slot.open('vp8', underWay, true);
  point(cy, ben, 'camera', 'slot');
  assert.equal(await opening, null, 'a frame that was being opened while the slot was pointed elsewhere');
  assert.ok(cy.last('want-key-frame'));
  assert.equal(await slot.open('vp8', late, true), null);
  assert.equal(await film(ben, slot, { isKey: false }), null, 'a delta frame first');
  assert.equal(cy.last('live'), undefined);
  assert.ok(await film(ben, slot));
  assert.deepEqual([cy.last('live').participant, cy.last('live').stream], [ben.id, 'camera']);
  slot.blank();
  assert.equal(await film(ben, slot), null);
});

test('rule 20: an assignment that is overtaken by a later one is void', async () => {
  const world = await World.open();
  const [ana, ben, cy] = [await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
  const slot = cy.core.slot('slot');
  assert.equal(slot.point(5, ben.id, 'camera'), true);
  assert.equal(slot.point(4, ana.id, 'camera'), false);
  assert.equal(await film(ana, slot), null);
  assert.ok(await film(ben, slot));
});

test('rule 20: key frames are asked for again, but not all the time', async () => {
  const [world, ana, ben] = await pair();
  const slot = point(ben, ana);
  for (let frame = 0; frame < 100; frame++) {
    await slot.open('vp8', vp8(false), false);
    await world.pass(20);
  }
  const asked = ben.all('want-key-frame').length;
  assert.ok(asked >= 3 && asked <= 5, `${asked} times in two seconds`);
});

test('rule 21: plaintext, silence and fillers are not rendered, whoever sends them', async () => {
  const [, ana, ben] = await pair();
  const fillers = [vp8(true), vp8(false), opus(), new Uint8Array(0), new Uint8Array(1), new Uint8Array(3),
    Uint8Array.of(0xf8, 0xff, 0xfe), new Uint8Array(1500), new Uint8Array(40).fill(0xff)];
  for (const [stream, codec] of [['camera', 'vp8'], ['camera', 'vp9'], ['microphone', 'opus']]) {
    const slot = point(ben, ana, stream);
    for (const filler of fillers) assert.equal(await slot.open(codec, filler.slice(), true), null);
    assert.equal(slot.opened, 0);
  }
});

test('rule 21: nothing opens in a slot that points at nobody, or at somebody who is not on the roster', async () => {
  const [, ana, ben] = await pair();
  const slot = ben.core.slot('new');
  assert.equal(await film(ana, slot), null);
  slot.point(1, 'stranger', 'camera');
  assert.equal(await film(ana, slot), null);
});

test('rule 21: once closed, nothing is protected or opened', async () => {
  const [, ana, ben] = await pair();
  const slot = point(ben, ana);
  await ana.core.close();
  assert.equal(await ana.core.protect('camera', 'vp8', vp8(true)), null);
  await ben.core.close();
  assert.equal(await slot.open('vp8', vp8(true), true), null);
});

test('rule 21: the transforms let a frame through in one place only, after it was protected or opened', () => {
  const worker = readFileSync(new URL('../../web/e2ee/worker.js', import.meta.url), 'utf8');
  const passes = worker.split('controller.enqueue(frame)').length - 1;
  assert.equal(passes, 2);
  assert.match(worker, /if \(!sealed\) return;\s+frame\.data = sealed\.buffer;\s+controller\.enqueue\(frame\)/);
  assert.match(worker, /if \(!opened\) return;\s+frame\.data = opened\.buffer;\s+controller\.enqueue\(frame\)/);
});
