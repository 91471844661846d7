// A slot never shows one person's picture under another's name, whatever order messages come in.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slots } from '../../web/sdk/slots.js';

/** Slots over one video m-line with MID 3, with everything that they did, and pointing that waits to be let through. */
function bench() {
  const did = [];
  const waiting = [];
  const track = { enabled: true };
  const slots = new Slots({
    point: (key, epoch, participant, stream) => {
      did.push(`point ${key} ${epoch} ${participant} ${stream}`);
      return new Promise((resolve) => waiting.push(resolve));
    },
    blank: async (key) => void did.push(`blank ${key}`),
    acknowledge: (slot, epoch) => did.push(`assigned ${slot} ${epoch}`),
    show: ({ participant, stream }, shown) => did.push(`${shown ? 'show' : 'hide'} ${participant} ${stream}`),
    fail: (error) => did.push(`fail ${error}`),
  });
  slots.add('video-0', track, () => '3');
  const pointed = async () => {
    waiting.shift()();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { slots, did, track, pointed };
}

const ana = { slot: '3', epoch: 1, participant: 'ana', stream: 'camera' };
const ben = { slot: '3', epoch: 2, participant: 'ben', stream: 'camera' };
const frame = (participant) => ({ slot: 'video-0', participant, stream: 'camera' });

test('an assignment is acknowledged only once decryption points at its sender', async () => {
  const { slots, did, pointed } = bench();
  void slots.assign(ana);
  assert.deepEqual(did, ['point video-0 1 ana camera']);
  await pointed();
  assert.deepEqual(did, ['point video-0 1 ana camera', 'assigned 3 1']);
});

test('a slot is dark until the first authenticated frame of its owner', async () => {
  const { slots, did, track, pointed } = bench();
  assert.equal(track.enabled, false);
  void slots.assign(ana);
  await pointed();
  assert.equal(track.enabled, false);
  slots.authenticated(frame('ana'));
  assert.equal(track.enabled, true);
  assert.deepEqual(did.slice(2), ['show ana camera']);
});

test('changing hands hides the old owner at once, before the new one is pointed at', async () => {
  const { slots, did, track, pointed } = bench();
  void slots.assign(ana);
  await pointed();
  slots.authenticated(frame('ana'));
  did.length = 0;
  void slots.assign(ben);
  assert.deepEqual(did, ['hide ana camera', 'point video-0 2 ben camera']);
  assert.equal(track.enabled, false);
});

test("an old owner's late frame does not light the new owner's slot", async () => {
  const { slots, did, track } = bench();
  void slots.assign(ana);
  void slots.assign(ben);
  slots.authenticated(frame('ana'));
  slots.authenticated({ ...frame('ben'), stream: 'screen' });
  assert.equal(track.enabled, false);
  assert.ok(!did.some((each) => each.startsWith('show')));
});

test('an assignment that was overtaken is not acknowledged', async () => {
  const { slots, did, pointed } = bench();
  void slots.assign(ana);
  void slots.assign(ben);
  await pointed();
  await pointed();
  assert.deepEqual(did.filter((each) => each.startsWith('assigned')), ['assigned 3 2']);
});

test('an old epoch, an unknown slot and a repeated assignment are ignored', async () => {
  const { slots, did, pointed } = bench();
  void slots.assign(ben);
  await pointed();
  did.length = 0;
  await slots.assign(ana);
  await slots.assign(ben);
  await slots.assign({ ...ana, slot: '9', epoch: 7 });
  await slots.release({ slot: '3', epoch: 1 });
  assert.deepEqual(did, []);
});

test('a release while pointing goes on takes back the acknowledgement', async () => {
  const { slots, did, pointed } = bench();
  void slots.assign(ana);
  await slots.release({ slot: '3', epoch: 2 });
  await pointed();
  assert.deepEqual(did, ['point video-0 1 ana camera', 'blank video-0']);
});

test('a release of the current epoch blanks, and the same owner can come back', async () => {
  const { slots, did, track, pointed } = bench();
  void slots.assign(ana);
  await pointed();
  slots.authenticated(frame('ana'));
  await slots.release({ slot: '3', epoch: 1 });
  assert.deepEqual(did.slice(-2), ['hide ana camera', 'blank video-0']);
  void slots.assign({ ...ana, epoch: 2 });
  await pointed();
  slots.authenticated(frame('ana'));
  assert.equal(did.at(-1), 'show ana camera');
  assert.equal(track.enabled, true);
});

test('a release that ends the epoch being pointed takes back its acknowledgement', async () => {
  const { slots, did, pointed } = bench();
  void slots.assign(ana);
  await slots.release({ slot: '3', epoch: 1 });
  await pointed();
  assert.ok(!did.includes('assigned 3 1'));
});

test('somebody who leaves takes their picture along', async () => {
  const { slots, did, track, pointed } = bench();
  void slots.assign(ana);
  await pointed();
  slots.authenticated(frame('ana'));
  await slots.forget('ben');
  assert.equal(track.enabled, true);
  await slots.forget('ana', 'screen');
  assert.equal(track.enabled, true);
  await slots.forget('ana');
  assert.equal(track.enabled, false);
  assert.deepEqual(did.slice(-2), ['hide ana camera', 'blank video-0']);
});
