import assert from 'node:assert/strict';
import test from 'node:test';
import { compare, fromBase64Url, toBase64Url } from '../../web/e2ee/bytes.js';
import { verificationCode } from '../../web/e2ee/code.js';
import { aliveInterval, changeWindow, rosterDigest } from '../../web/e2ee/roster.js';
import { World, crypto, film, point } from './world.js';

const typeOf = ({ data }) => JSON.parse(data).type;
const ofType = (world, type) => world.log.filter(message => typeOf(message) === type);

test('rule 8: whoever cannot open a ready is on no roster, in no code, and is sent no key', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const code = ana.last('code').code;
  // the server keeps every `ready` of the third from the others
  world.meddle = delivery => (delivery.from.startsWith('Cy') && typeOf(delivery) === 'ready' ? [] : [delivery]);
  const cy = await world.join('Cy');
  await world.pass(8_000);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana']]);
  assert.equal(ana.last('code').code, code);
  assert.deepEqual(ofType(world, 'key').filter(({ to }) => to === cy.id), []);
  assert.equal(await film(ana, point(cy, ana)), null);
  const told = ana.last('unverified');
  assert.deepEqual([told.participant, told.name, told.why], [cy.id, 'Cy', 'ready']);
});

test('rule 8: a key is sent to nobody before their ready opened', async () => {
  const world = await World.open();
  for (const name of ['Ana', 'Ben', 'Cy', 'Dee']) await world.join(name);
  const readyAt = new Map();
  world.log.forEach((message, at) => {
    const pair = `${message.from} ${message.to}`;
    if (typeOf(message) === 'ready') readyAt.set(pair, at);
    if (typeOf(message) !== 'key') return;
    assert.ok(readyAt.get(`${message.to} ${message.from}`) < at, `${pair} was keyed too early`);
  });
  assert.equal(readyAt.size, 12);
});

test('rule 8: a connection that never says hello is shown after five seconds, and keyed by nobody', async () => {
  const world = await World.open();
  const ana = await world.join('Ana');
  await ana.core.arrived('ghost');
  await world.pass(4_000);
  assert.equal(ana.last('unverified'), undefined);
  await world.pass(2_500);
  const { participant, why } = ana.last('unverified');
  assert.deepEqual([participant, why], ['ghost', 'silent']);
  assert.deepEqual(world.log.filter(({ to, data }) => to === 'ghost' && !data.includes('"hello"')), []);
});

test('rule 10: alive is due every 10 s, every n/5 s above 50, and changes of one second are one, of five above 50', () => {
  assert.deepEqual([2, 50, 51, 100].map(aliveInterval), [10_000, 10_000, 10_200, 20_000]);
  assert.deepEqual([2, 50, 51, 100].map(changeWindow), [1_000, 1_000, 5_000, 5_000]);
});

test('rule 10: alive is said every 10 s and on each change of the roster', async () => {
  const world = await World.open();
  const [ana] = [await world.join('Ana'), await world.join('Ben')];
  const said = () => ofType(world, 'message').filter(({ from }) => from === ana.id).length;
  await world.pass(2_000);
  let before = said();
  await world.pass(30_000);
  assert.ok(said() - before >= 3 && said() - before <= 4, `${said() - before}`);
  before = said();
  await world.join('Cy', world.links.invite, 300);
  assert.ok(said() > before);
});

test('rule 10: the digest covers every identity and the counter of the host state, in any order', async () => {
  const [call, a, b] = [new Uint8Array(16), new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const digest = await rosterDigest(crypto, call, [a, b], 0);
  assert.equal(compare(digest, await rosterDigest(crypto, call, [b, a], 0)), 0);
  for (const other of [[[a], 0], [[a, b], 1], [[a, a], 0]]) {
    assert.notEqual(compare(digest, await rosterDigest(crypto, call, ...other)), 0);
  }
});

test('rule 10: members who are shown different rosters are told after five seconds, not before', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  // the server hides Cy and Ben from each other
  const between = (ids, a, b) => ids.some(id => id.startsWith(a)) && ids.some(id => id.startsWith(b));
  const hidden = ({ from, to }) => between([from, to], 'Cy', 'Ben');
  world.meddle = delivery => (hidden(delivery) ? [] : [delivery]);
  const began = world.clock.time;
  const cy = await world.join('Cy', world.links.invite, 4_500);
  assert.deepEqual([ana.names, ben.names, cy.names], [['Ben', 'Cy'], ['Ana'], ['Ana']]);
  for (const member of world.everyone) assert.equal(member.last('disagreement'), undefined, member.label);
  await world.pass(3_000);
  for (const [member, other] of [[ana, ben], [ben, ana], [cy, ana]]) {
    const { participants, at } = member.all('disagreement')[0];
    assert.ok(participants.some(({ id }) => id === other.id), member.label);
    assert.ok(at - began >= 5_000 && at - began <= 7_000);
  }
});

test('rule 10: an agreement that comes back is told too', async () => {
  const world = await World.open();
  const [ana] = [await world.join('Ana'), await world.join('Ben')];
  world.meddle = delivery => ([delivery.from, delivery.to].every(id => !id.startsWith('Ana')) ? [] : [delivery]);
  const cy = await world.join('Cy');
  await world.pass(8_000);
  assert.equal(ana.last('disagreement').participants.length, 2);
  await world.leave(cy);
  await world.pass(3_000);
  assert.deepEqual(ana.last('disagreement').participants, []);
});

test('rule 10: three intervals of silence count as leaving', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const slot = point(ana, ben);
  assert.ok(await film(ben, slot));
  world.meddle = () => [];
  await world.pass(28_000);
  assert.deepEqual(ana.names, ['Ben']);
  await world.pass(5_000);
  assert.deepEqual(ana.names, []);
  assert.deepEqual(ana.last('code').left, ['Ben']);
  assert.equal(await film(ben, slot), null);
});

test('rule 10: a bye is final for its identity, and only its owner can say it', async () => {
  const world = await World.open();
  const [ana, ben, cy] = [await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
  const lies = [toBase64Url(new Uint8Array(64)), 'x', undefined];
  for (const signature of lies) ana.core.receive(ben.id, JSON.stringify({ v: 1, type: 'bye', signature }));
  await world.quiet();
  assert.deepEqual(ana.names, ['Ben', 'Cy']);
  await ben.core.close();
  await world.quiet();
  const bye = ofType(world, 'bye').find(({ from }) => from === ben.id);
  assert.deepEqual([ana.names, cy.names], [['Cy'], ['Ana']]);
  // the server brings back what it recorded of Ben, and lends Ben's bye to Cy
  for (const { from, data } of world.log.filter(({ from, to }) => from === ben.id && to === ana.id)) {
    ana.core.receive(from, data);
  }
  ana.core.receive(cy.id, bye.data);
  await world.quiet();
  assert.deepEqual(ana.names, ['Cy']);
});

test('rule 10: a member that reconnects stays on the roster, whether or not the server says that it left', async () => {
  for (const told of [true, false]) {
    const world = await World.open();
    const [ana, ben, cy] = [await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
    await world.connect(ben, { told });
    if (!told) {
      await ana.core.departed('Ben-1');
      await cy.core.departed('Ben-1');
    }
    await world.pass(4_000);
    assert.deepEqual([ana.names, ben.names, cy.names], [['Ben', 'Cy'], ['Ana', 'Cy'], ['Ana', 'Ben']]);
    for (const sender of world.everyone) {
      for (const receiver of world.everyone.filter(each => each !== sender)) {
        assert.ok(await film(sender, point(receiver, sender)), `${sender.label} to ${receiver.label}, told: ${told}`);
      }
    }
    for (const member of world.everyone) assert.equal(member.last('unverified'), undefined);
    await world.pass(40_000);
    assert.equal(ana.names.length, 2);
    assert.equal(ana.last('disagreement'), undefined);
  }
});

test('rule 25: the code is six groups of five digits, the same for all, and changes with the roster', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const two = ana.last('code');
  assert.match(two.code, /^\d{5}( \d{5}){5}$/);
  assert.equal(ben.last('code').code, two.code);
  assert.deepEqual([two.joined, two.left], [['Ben'], []]);
  const cy = await world.join('Cy');
  assert.notEqual(ana.last('code').code, two.code);
  assert.deepEqual(ana.last('code').joined, ['Cy']);
  assert.equal(ana.last('code').code, cy.last('code').code);
  await world.leave(cy);
  assert.equal(ana.last('code').code, two.code);
  assert.deepEqual(ana.last('code').left, ['Cy']);
});

test('rule 25: the code is PBKDF2-SHA512 of the sorted identities', async () => {
  const { pbkdf2Sync } = await import('node:crypto');
  const [a, b] = [new Uint8Array(32).fill(200), new Uint8Array(32).fill(3)];
  const call = fromBase64Url('FrzmrCfuDod6VE1BDsQkLQ', 16);
  const salt = Buffer.concat([Buffer.from([0, 12]), Buffer.from('sotto/1 code'), Buffer.from([0, 16]), call]);
  const bits = pbkdf2Sync(Buffer.concat([b, a]), salt, 100_000, 30, 'sha512');
  const groups = [0, 5, 10, 15, 20, 25].map(at => String(bits.readUIntBE(at, 5) % 100_000).padStart(5, '0'));
  assert.equal(await verificationCode(crypto, call, [a, b]), groups.join(' '));
  assert.equal(await verificationCode(crypto, call, [b, a]), groups.join(' '));
});
