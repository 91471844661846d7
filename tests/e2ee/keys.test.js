import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { Conversation } from '../../web/e2ee/conversation.js';
import { ReceiverKeys } from '../../web/e2ee/receiver-key.js';
import { SenderKeys } from '../../web/e2ee/sender-key.js';
import { decodeHeader } from '../../web/e2ee/sframe.js';
import { World, crypto, film, opus, point, vp8 } from './world.js';

const typeOf = ({ data }) => JSON.parse(data).type;
const keysTo = (world, to, since = 0) => world.log.slice(since).filter(each => each.to === to && typeOf(each) === 'key');
const keysFrom = (world, from, since) => world.log.slice(since).filter(each => each.from === from && typeOf(each) === 'key');

/** Generation and step that a member encrypts with now. */
async function versionOf(member) {
  const { kid } = decodeHeader(await member.core.protect('camera', 'vp8', vp8(true)), 10);
  return [Number(kid >> 16n), Number((kid >> 8n) & 0xffn)];
}

const base = value => new Uint8Array(32).fill(value);
const prefix = new Uint8Array(4);

/** A receiver's keys with a clock of their own. */
function receiver() {
  const timers = [];
  const keys = new ReceiverKeys(crypto, prefix, (milliseconds, task) => timers.push({ milliseconds, task }));
  return { keys, timers };
}

/** A frame under a base key that the test chose. */
async function frameUnder(value, { generation = 0, steps = 0, stream = 1, skip = 0 } = {}) {
  const sender = new SenderKeys(crypto, prefix);
  const current = sender.ensure();
  current.base.set(base(value));
  current.generation = generation;
  for (let step = 0; step < steps; step++) await sender.step();
  for (let count = 0; count < skip; count++) sender.take(stream);
  return sender.protectFrame(stream, 'vp9', opus());
}

test('rule 11: a base key is made when the first frame or message wants one, each member its own', async () => {
  const world = await World.open();
  const ana = await world.join('Ana');
  const sealed = await ana.core.protect('microphone', 'opus', opus());
  assert.equal(decodeHeader(sealed).kid, 0n);
  const ben = await world.join('Ben');
  assert.deepEqual(await versionOf(ana), [0, 1]);
  assert.deepEqual(await versionOf(ben), [0, 0]);
  const [fromAna, fromBen] = [keysFrom(world, ana.id, 0), keysFrom(world, ben.id, 0)];
  assert.deepEqual([fromAna.length, fromBen.length], [1, 1]);
});

test('rule 12: a key is acknowledged with its generation and step', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  for (const [from, to] of [[ana, ben], [ben, ana]]) {
    assert.equal(keysTo(world, to.id).filter(each => each.from === from.id).length, 1);
    assert.equal(world.log.filter(each => each.from === to.id && typeOf(each) === 'key-ack').length, 1);
  }
});

test('rule 12: a key may not change what is known, nor go back', async () => {
  const { keys } = receiver();
  assert.equal(await keys.learn(3, 2, base(1)), true);
  assert.equal(await keys.learn(3, 2, base(1)), true, 'the same again');
  assert.equal(await keys.learn(3, 2, base(2)), false, 'another for the same');
  assert.equal(await keys.learn(3, 1, base(1)), false, 'an earlier step');
  assert.equal(await keys.learn(2, 0, base(1)), false, 'an earlier generation');
  assert.equal(await keys.learn(3, 4, base(1)), false, 'a later step that does not follow');
  const opened = await keys.open(1, await frameUnder(1, { generation: 3, steps: 0 }), 0);
  assert.equal(opened, 'key', 'step 0 was never ours');
});

test('rule 12: a later step of a known generation must follow from it', async () => {
  const sender = new SenderKeys(crypto, prefix);
  sender.ensure().base.set(base(7));
  const { keys } = receiver();
  await keys.learn(0, 0, base(7));
  await sender.step();
  const { base: stepped } = await sender.step();
  assert.equal(await keys.learn(0, 2, stepped.slice()), true);
});

test('rule 12: a member who changes a key that is known is shown, and the key stays as it was', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const slot = point(ana, ben);
  assert.ok(await film(ben, slot));
  await world.connect(ana, { told: false });
  await world.pass(1_000);
  assert.equal(ana.last('unverified'), undefined, 'the same key again is no change');
  const { sendKey } = Conversation.prototype;
  Conversation.prototype.sendKey = function (peer, key) {
    return sendKey.call(this, peer, { ...key, base: key.base.map(byte => byte ^ 1) });
  };
  await world.connect(ana, { told: false });
  await world.pass(1_000);
  Conversation.prototype.sendKey = sendKey;
  assert.deepEqual([ana.last('unverified').name, ana.last('unverified').why], ['Ben', 'key']);
  assert.ok(await film(ben, slot));
});

test('rule 13: a newcomer cannot read what came before', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const early = await ana.core.protect('camera', 'vp8', vp8(true, 'before Cy'));
  const copy = early.slice();
  const before = await versionOf(ana);
  await world.pass(1_500);
  const cy = await world.join('Cy');
  assert.deepEqual(await versionOf(ana), [before[0], before[1] + 1]);
  const slot = point(cy, ana);
  assert.equal(await slot.open('vp8', early, true), null);
  assert.equal(cy.core.counters.key > 0, true);
  assert.ok(await film(ana, slot));
  assert.ok(await point(ben, ana).open('vp8', copy, true), 'Ben still can, being sent nothing new');
});

test('rule 13: only the newcomer is sent the step; the others follow when a frame shows it', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  await world.pass(2_000);
  const since = world.log.length;
  const cy = await world.join('Cy');
  assert.deepEqual(keysFrom(world, ana.id, since).map(({ to }) => to), [cy.id]);
  assert.deepEqual(keysFrom(world, ben.id, since).map(({ to }) => to), [cy.id]);
  assert.ok(await film(ana, point(ben, ana)));
});

test('rule 13: a forged step moves nothing on', async () => {
  const { keys, timers } = receiver();
  await keys.learn(0, 0, base(1));
  const forged = await frameUnder(2, { steps: 5 });
  assert.equal(await keys.open(1, forged, 0), 'forged');
  assert.equal(timers.length, 0);
  assert.equal(typeof (await keys.open(1, await frameUnder(1), 0)), 'object');
  assert.equal(await keys.open(1, await frameUnder(1, { steps: 9 }), 0), 'key', 'there is no step 9');
});

test('rule 13: steps end at 8, and the next change starts another generation', async () => {
  const world = await World.open();
  const ana = await world.join('Ana');
  await ana.core.protect('camera', 'vp8', vp8(true));
  const seen = [];
  for (let count = 0; count < 10; count++) {
    await world.join(`Guest${count}`, world.links.invite, 1_500);
    seen.push(await versionOf(ana));
  }
  assert.deepEqual(seen.map(version => version.join()), ['0,1', '0,2', '0,3', '0,4', '0,5', '0,6', '0,7', '0,8', '1,0', '1,1']);
  for (const receiver of world.everyone.slice(1)) assert.ok(await film(ana, point(receiver, ana)), receiver.label);
});

test('rule 13: changes within one second are one change', async () => {
  const world = await World.open();
  const ana = await world.join('Ana');
  await ana.core.protect('camera', 'vp8', vp8(true));
  await world.pass(2_000);
  await world.join('First', world.links.invite, 0);
  assert.deepEqual(await versionOf(ana), [0, 1], 'the first at once');
  for (let count = 0; count < 4; count++) await world.join(`Guest${count}`, world.links.invite, 150);
  assert.deepEqual(await versionOf(ana), [0, 1]);
  await world.pass(500);
  assert.deepEqual(await versionOf(ana), [0, 2], 'those that follow together, a second later');
  for (const receiver of world.everyone.slice(1)) assert.ok(await film(ana, point(receiver, ana)), receiver.label);
});

test('rule 14: when somebody leaves, those who remain change to a generation that the leaver lacks', async () => {
  const world = await World.open();
  const [ana, ben, cy] = [await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
  await world.pass(2_000);
  const [slot, stolen] = [point(ben, ana), point(cy, ana)];
  assert.ok(await film(ana, stolen));
  const [generation] = await versionOf(ana);
  const since = world.log.length;
  await world.leave(cy);
  await world.pass(100);
  assert.deepEqual(await versionOf(ana), [generation + 1, 0], 'at once, since all acknowledged');
  assert.deepEqual(keysFrom(world, ana.id, since).map(({ to }) => to), [ben.id]);
  assert.ok(await film(ana, slot));
  assert.equal(await film(ana, stolen), null);
  assert.ok(ana.last('keyframe'), 'a key frame is asked for');
});

test('rule 14: a removed member cannot open frames two seconds after, though acknowledgements are withheld', async () => {
  const world = await World.open();
  const [ana, ben, cy] = [await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
  await world.pass(2_000);
  const stolen = point(cy, ana);
  world.meddle = delivery => (delivery.to === ana.id && typeOf(delivery) === 'key-ack' ? [] : [delivery]);
  const [generation] = await versionOf(ana);
  await world.leave(cy);
  await world.pass(1_900);
  assert.deepEqual((await versionOf(ana))[0], generation, 'those who have not acknowledged are waited for');
  await world.pass(200);
  assert.deepEqual(await versionOf(ana), [generation + 1, 0]);
  assert.equal(await film(ana, stolen), null);
  assert.ok(await film(ana, point(ben, ana)));
});

test('rule 14: departures in a row cannot keep the old generation in use', async () => {
  const world = await World.open();
  const ana = await world.join('Ana');
  const guests = [];
  for (let count = 0; count < 8; count++) guests.push(await world.join(`Guest${count}`, world.links.invite, 1_200));
  await world.pass(3_000);
  world.meddle = delivery => (delivery.to === ana.id && typeOf(delivery) === 'key-ack' ? [] : [delivery]);
  const [generation] = await versionOf(ana);
  const stolen = point(guests[0], ana);
  for (const guest of guests.slice(0, 6)) {
    await world.leave(guest);
    await world.pass(400);
  }
  assert.ok((await versionOf(ana))[0] > generation, 'two seconds after the first departure');
  assert.equal(await film(ana, stolen), null);
});

test('rule 14: a generation that was sent to somebody who has since left is never used', async () => {
  const world = await World.open();
  const ana = await world.join('Ana');
  const guests = [];
  for (let count = 0; count < 4; count++) guests.push(await world.join(`Guest${count}`, world.links.invite, 1_200));
  await world.pass(3_000);
  const [generation] = await versionOf(ana);
  world.meddle = delivery => (delivery.to === ana.id && typeOf(delivery) === 'key-ack' ? [] : [delivery]);
  await world.leave(guests[0]);
  await world.pass(500);
  await world.leave(guests[1]); // it holds generation + 1
  await world.pass(3_000);
  assert.deepEqual(await versionOf(ana), [generation + 2, 0]);
  assert.equal(await film(ana, point(guests[1], ana)), null);
  assert.ok(await film(ana, point(guests[2], ana)));
});

test('rule 14: while a generation is pending, newcomers get that one only, without a step', async () => {
  const world = await World.open();
  const [ana, , cy] = [await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
  await world.pass(2_000);
  const [generation] = await versionOf(ana);
  world.meddle = delivery => (delivery.to === ana.id && typeOf(delivery) === 'key-ack' ? [] : [delivery]);
  await world.leave(cy);
  await world.pass(500);
  const dee = await world.join('Dee', world.links.invite, 0);
  assert.equal(keysTo(world, dee.id).filter(({ from }) => from === ana.id).length, 1);
  const slot = point(dee, ana);
  assert.equal(await film(ana, slot), null, 'what is said before the switch is not for newcomers');
  await world.pass(1_600);
  assert.deepEqual(await versionOf(ana), [generation + 1, 0]);
  assert.ok(await film(ana, slot));
});

test('rule 15: the old generation is erased two seconds after the new one showed itself', async () => {
  const { keys, timers } = receiver();
  await keys.learn(0, 0, base(1));
  await keys.learn(1, 0, base(2));
  const [old, older] = [await frameUnder(1, { skip: 1 }), await frameUnder(1, { skip: 2 })];
  await keys.open(1, await frameUnder(1), 0);
  timers.length = 0;
  assert.equal(await keys.open(1, await frameUnder(9, { generation: 1 }), 0), 'forged');
  assert.equal(timers.length, 0, 'an unauthenticated KID erases nothing');
  assert.equal(typeof (await keys.open(1, await frameUnder(2, { generation: 1 }), 0)), 'object');
  assert.equal(typeof (await keys.open(1, old, 0)), 'object', 'frames under way still open');
  assert.deepEqual(timers.map(({ milliseconds }) => milliseconds).includes(2_000), true);
  for (const { task } of timers) task();
  assert.equal(await keys.open(1, older, 0), 'key');
  assert.equal(await keys.learn(0, 0, base(1)), false, 'nor does it come back');
});

test('rule 15: an old step is erased two seconds after a later one showed itself', async () => {
  const { keys, timers } = receiver();
  await keys.learn(0, 0, base(1));
  const late = await frameUnder(1, { skip: 3 });
  assert.equal(typeof (await keys.open(1, await frameUnder(1, { steps: 2 }), 0)), 'object');
  assert.equal(typeof (await keys.open(1, await frameUnder(1, { skip: 2 }), 0)), 'object');
  for (const { task } of timers) task();
  assert.equal(await keys.open(1, late, 0), 'key');
  assert.equal(typeof (await keys.open(1, await frameUnder(1, { steps: 3 }), 0)), 'object', 'later ones still follow');
});

test('rule 15: a sender erases what it no longer uses', async () => {
  const keys = new SenderKeys(crypto, prefix);
  const first = keys.ensure().base;
  const second = (await keys.step()).base;
  assert.deepEqual(first, new Uint8Array(32));
  const pending = keys.prepare().base;
  keys.prepare();
  assert.deepEqual(pending, new Uint8Array(32));
  keys.switch();
  assert.deepEqual(second, new Uint8Array(32));
  const last = keys.current.base;
  keys.erase();
  assert.deepEqual(last, new Uint8Array(32));
});

test('rule 15: however many generations a member prepares, few are held', async () => {
  const { keys } = receiver();
  await keys.learn(0, 0, base(1));
  assert.equal(typeof (await keys.open(1, await frameUnder(1), 0)), 'object');
  for (let generation = 1; generation < 200; generation++) await keys.learn(generation, 0, base(2));
  assert.equal(await keys.open(1, await frameUnder(2, { generation: 150 }), 0), 'key');
  assert.equal(typeof (await keys.open(1, await frameUnder(1, { skip: 1 }), 0)), 'object', 'the one in use is kept');
  assert.equal(typeof (await keys.open(1, await frameUnder(2, { generation: 199 }), 0)), 'object');
});

test('rule 16: the page imports nothing that holds keys, and keys that can be are not extractable', async () => {
  const page = readFileSync(new URL('../../web/e2ee/encryption.js', import.meta.url), 'utf8');
  const imports = [...page.matchAll(/^import .* from '(.*)';$/gm)].map(([, from]) => from);
  assert.deepEqual(imports, ['./link.js']);
  const folder = new URL('../../web/e2ee/', import.meta.url);
  const readable = readdirSync(folder).flatMap(file => {
    const source = readFileSync(new URL(file, folder), 'utf8').replaceAll(/\s+/g, ' ');
    const calls = [...source.matchAll(/(?:importKey|generateKey|deriveKey)\([^;]*?true, \[/g)];
    return calls.map(() => file);
  });
  assert.deepEqual(readable, ['derive.js'], 'only an Ed25519 seed, to learn its public half');
});

test('rule 16: no event that reaches the page carries a key', async () => {
  const world = await World.open();
  const bases = [];
  const importKey = crypto.subtle.importKey.bind(crypto.subtle);
  crypto.subtle.importKey = (format, key, algorithm, ...rest) => {
    if (algorithm === 'HKDF') bases.push(Buffer.from(key).toString('base64url'));
    return importKey(format, key, algorithm, ...rest);
  };
  const [ana, ben, cy] = [await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
  await film(ana, point(ben, ana));
  await world.leave(cy);
  await world.pass(3_000);
  crypto.subtle.importKey = importKey;
  assert.ok(bases.length > 10);
  const told = JSON.stringify([ana.events, ben.events, world.log]);
  for (const secret of bases) assert.ok(!told.includes(secret));
});
