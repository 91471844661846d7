import assert from 'node:assert/strict';
import test from 'node:test';
import { Core } from '../../web/e2ee/core.js';
import { openLink } from '../../web/e2ee/link.js';
import { MAX_PARTICIPANTS } from '../../web/e2ee/membership.js';
import { Member, World, crypto, film, point, vp8 } from './world.js';

const parse = ({ data }) => JSON.parse(data);
const typeOf = message => parse(message).type;

/** A member whose secrets are the link's, but for those that a test takes away. */
async function impostor(world, label, lack) {
  const member = new Member(world, label);
  const secrets = await openLink(crypto, world.links.invite);
  const { privateKey, publicKey } = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
  const identity = { privateKey, publicKey: new Uint8Array(await crypto.subtle.exportKey('raw', publicKey)) };
  const environment = {
    crypto,
    now: () => world.clock.time,
    after: (milliseconds, task) => world.clock.after(milliseconds, task),
    emit: (type, detail) => member.emit(type, detail),
  };
  member.core = new Core(environment, { ...secrets, ...(await lack()) }, { identity, name: label, tunnel: true });
  await world.connect(member);
  await world.pass(1_000);
  return member;
}

const noPsk = async () => ({ psk: crypto.getRandomValues(new Uint8Array(32)) });
const noMac = async () => ({
  ...(await noPsk()),
  mac: await crypto.subtle.generateKey({ name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify']),
});

test('a ghost without the psk is keyed by nobody, reads and shows nothing, and the others are told its name', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const code = ana.last('code').code;
  const ghost = await impostor(world, 'Ghost', noPsk);
  assert.deepEqual(world.log.filter(each => each.to === ghost.id && typeOf(each) === 'key'), []);
  for (const member of [ana, ben]) {
    assert.ok(!member.names.includes('Ghost'));
    assert.equal(member.last('code').code, code);
    const told = member.last('unverified');
    assert.deepEqual([told.participant, told.name, told.why], [ghost.id, 'Ghost', 'ready']);
    assert.equal(await film(member, point(ghost, member)), null);
    assert.equal(await film(ghost, point(member, ghost)), null);
  }
  await ana.core.send('chat', { id: 'm', text: 'not for ghosts' });
  await world.quiet();
  assert.equal(ghost.last('message'), undefined);
  assert.equal(ben.last('message').body.text, 'not for ghosts');
});

test('a ghost without the mac is met by nobody, and shown', async () => {
  const world = await World.open();
  const ana = await world.join('Ana');
  const ghost = await impostor(world, 'Ghost', noMac);
  assert.deepEqual([ana.last('unverified').participant, ana.last('unverified').why], [ghost.id, 'hello']);
  assert.deepEqual(ana.names, []);
  assert.deepEqual(world.log.filter(({ to }) => to === ghost.id).map(typeOf), []);
});

test('a key D that the server swaps into a hello is refused and shown', async () => {
  await swapped('key');
});

test('an identity I that the server swaps into a hello is refused and shown', async () => {
  await swapped('identity');
});

async function swapped(field) {
  const world = await World.open();
  const ana = await world.join('Ana');
  const mallory = await Member.make(world, 'Mallory', world.links.invite);
  await mallory.core.joined('elsewhere', []);
  const theirs = parse(mallory.outbox[0])[field];
  world.meddle = delivery => {
    if (typeOf(delivery) !== 'hello') return [delivery];
    return [{ ...delivery, data: JSON.stringify({ ...parse(delivery), [field]: theirs }) }];
  };
  const ben = await world.join('Ben');
  assert.deepEqual([ana.names, ben.names], [[], []]);
  assert.deepEqual([ana.last('unverified').participant, ana.last('unverified').why], [ben.id, 'hello']);
  assert.deepEqual(world.log.filter(each => typeOf(each) === 'key'), []);
}

test('a hello that is replayed changes nothing: not the current one, not an older one, not under another id', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const old = world.log.find(each => each.from === ben.id && each.to === ana.id && typeOf(each) === 'hello').data;
  const sent = world.log.length;
  ana.core.receive(ben.id, old);
  await world.quiet();
  assert.equal(ana.last('unverified'), undefined, 'the current one again is of no use to anybody');
  assert.equal(world.log.length, sent);
  await world.connect(ben, { told: false });
  await world.pass(1_000);
  ana.core.receive(ben.id, old);
  await world.quiet();
  assert.equal(ana.last('unverified').why, 'elsewhere');
  await ana.core.arrived('Ben-1');
  ana.core.receive('Ben-1', old);
  await world.quiet();
  assert.deepEqual([ana.last('unverified').participant, ana.last('unverified').why], ['Ben-1', 'replay']);
  await ana.core.arrived('copy');
  ana.core.receive('copy', world.log.findLast(each => each.from === ben.id && typeOf(each) === 'hello').data);
  await world.quiet();
  assert.deepEqual([ana.last('unverified').participant, ana.last('unverified').why], ['copy', 'elsewhere']);
  assert.deepEqual(ana.names, ['Ben']);
  assert.ok(await film(ben, point(ana, ben)));
});

test('our own hello sent back to us is refused and shown', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const own = world.log.find(each => each.from === ana.id && typeOf(each) === 'hello').data;
  await ana.core.arrived('mirror');
  ana.core.receive('mirror', own);
  await world.quiet();
  assert.deepEqual([ana.last('unverified').participant, ana.last('unverified').why], ['mirror', 'identity']);
  assert.ok(ben);
});

test('a second identity for one connection is refused and shown', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const cy = await Member.make(world, 'Cy', world.links.invite);
  await cy.core.joined(ben.id, [ana.id]); // the server gives Cy the id of Ben
  await cy.core.idle();
  ana.core.receive(ben.id, cy.outbox[0].data);
  await world.quiet();
  assert.deepEqual([ana.last('unverified').participant, ana.last('unverified').why], [ben.id, 'identity']);
  assert.deepEqual(ana.names, ['Ben']);
});

test('keys that the server drops leave frames closed, and that is shown with the name', async () => {
  const world = await World.open();
  const ana = await world.join('Ana');
  world.meddle = delivery => (typeOf(delivery) === 'key' && delivery.from === ana.id ? [] : [delivery]);
  const ben = await world.join('Ben');
  const slot = point(ben, ana);
  for (let frame = 0; frame < 60; frame++) {
    assert.equal(await film(ana, slot), null);
    await world.pass(100);
  }
  const { name, stream, why } = ben.all('unverified').find(event => event.stream);
  assert.deepEqual([name, stream, why], ['Ana', 'camera', 'key']);
});

test('messages that come out of order from different peers change nothing about who is in', async () => {
  const world = await World.open();
  const held = [];
  world.meddle = delivery => {
    // everything to the third member waits, and comes from one sender after the other
    if (!delivery.to.startsWith('Cy')) return [delivery];
    held.push(delivery);
    return [];
  };
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const cy = await world.join('Cy');
  for (let rounds = 0; rounds < 20; rounds++) {
    const batch = held.splice(0).sort((a, b) => (a.from < b.from ? 1 : a.from > b.from ? -1 : 0));
    for (const { from, data } of batch) cy.core.receive(from, data);
    await world.pass(300);
  }
  assert.deepEqual([ana.names, ben.names, cy.names], [['Ben', 'Cy'], ['Ana', 'Cy'], ['Ana', 'Ben']]);
  for (const sender of [ana, ben]) assert.ok(await film(sender, point(cy, sender)));
  for (const receiver of [ana, ben]) assert.ok(await film(cy, point(receiver, cy)));
});

test('messages of any form never throw, and leave the call as it was', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const types = ['hello', 'ready', 'key', 'key-ack', 'tunnel', 'message', 'bye', 'nothing', '__proto__', 7];
  const values = [undefined, null, 0, -1, 1e300, 2 ** 53, '', 'x', 'AAAA', 'A'.repeat(9_000), [], [[]], {}, { length: 5 }, true];
  const fields = ['identity', 'key', 'seq', 'participant', 'name', 'signature', 'mac', 'counter', 'box'];
  for (const type of types) {
    for (const value of values) {
      const message = { v: 1, type, ...Object.fromEntries(fields.map(field => [field, value])) };
      ana.core.receive(ben.id, JSON.stringify(message));
    }
    await world.quiet();
  }
  const texts = ['', '{', '[]', 'null', '7', '"x"', '{"v":2,"type":"hello"}', '{"v":1}', '['.repeat(16_000), '\u0000', undefined, null, 7, {}];
  for (const data of texts) ana.core.receive(ben.id, data);
  for (const from of [undefined, null, 7, {}, '']) ana.core.receive(from, '{"v":1,"type":"hello"}');
  ana.core.receive(ben.id, JSON.stringify({ v: 1, type: 'hello', pad: 'x'.repeat(20_000) }));
  await world.quiet();
  assert.deepEqual(ana.names, ['Ben']);
  assert.ok(await film(ben, point(ana, ben)));
});

test('a flood of one sender is cut off, and the others still get through', async () => {
  const world = await World.open();
  const [ana, ben, cy] = [await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
  await cy.core.send('chat', { id: 'm', text: 'still here' });
  await cy.core.idle();
  const chat = cy.outbox.splice(0).at(-1).data;
  const hello = world.log.find(each => each.from === ben.id && typeOf(each) === 'hello').data;
  for (let count = 0; count < 5_000; count++) ana.core.receive(ben.id, hello);
  ana.core.receive(cy.id, chat);
  await world.quiet();
  assert.ok(ana.core.counters.flood >= 4_900);
  assert.equal(ana.last('message').body.text, 'still here');
});

test('invented participants are capped, and each is shown but once', async () => {
  const world = await World.open();
  const ana = await world.join('Ana');
  for (let count = 0; count < MAX_PARTICIPANTS + 500; count++) await ana.core.arrived(`ghost${count}`);
  await world.pass(8_000);
  assert.equal(ana.core.counters.crowd, 500);
  assert.ok(ana.all('unverified').length <= MAX_PARTICIPANTS);
  for (let count = 0; count < 50; count++) ana.core.receive('ghost1', '{"v":1,"type":"hello"}');
  await world.quiet();
  const shown = ana.all('unverified').filter(({ participant, why }) => participant === 'ghost1' && why === 'hello');
  assert.equal(shown.length, 1);
});

test('messages from connections that the server never announced, or that left, are dropped', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  await ben.core.send('chat', { id: 'm', text: 'late' });
  await ben.core.idle();
  const chat = ben.outbox.splice(0).at(-1).data;
  ana.core.receive('nobody', chat);
  await world.leave(ben);
  ana.core.receive(ben.id, chat);
  await world.quiet();
  assert.equal(ana.last('message'), undefined);
  assert.equal(ana.core.counters.stranger, 2);
});

test('frames of every length and of random bytes never throw', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const slot = point(ana, ben);
  const sealed = await ben.core.protect('camera', 'vp8', vp8(true));
  for (let length = 0; length < 200; length++) {
    assert.equal(await slot.open('vp8', sealed.slice(0, Math.min(length, sealed.length - 1)), true), null);
    const random = crypto.getRandomValues(new Uint8Array(length));
    for (const codec of ['vp8', 'vp9', 'opus']) assert.equal(await slot.open(codec, random, true), null);
  }
  assert.ok(await slot.open('vp8', sealed, true));
});

test('twenty joins and leaves leave nothing behind', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const code = ana.last('code').code;
  for (let count = 0; count < 20; count++) {
    const guest = await world.join('Guest', world.links.invite, 400);
    await world.leave(guest);
    await world.pass(300);
  }
  await world.pass(6_000);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana']]);
  assert.deepEqual([ana.last('code').code, ben.last('code').code], [code, code]);
  assert.ok(await film(ana, point(ben, ana)) && (await film(ben, point(ana, ben))));
  assert.equal(ana.last('disagreement'), undefined);
  assert.ok(world.clock.timers.length < 60, `${world.clock.timers.length} timers`);
});
