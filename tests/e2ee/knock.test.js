// Rule 9, at the door: who waits outside a locked call, and how the host lets it in or sends it away.

import assert from 'node:assert/strict';
import test from 'node:test';
import { MAX_HELD } from '../../web/e2ee/door.js';
import { MAX_KNOCKS } from '../../web/e2ee/knocks.js';
import { Member, World, film, point } from './world.js';

const host = member => member.core.moderation;

async function locked(...names) {
  const world = await World.open();
  const ana = await world.join('Ana', world.links.host);
  const others = [];
  for (const name of names) others.push(await world.join(name));
  await host(ana).lock(true);
  await world.pass(1_500);
  return [world, ana, ...others];
}

const outside = (world, name) => Member.make(world, name, world.links.invite);

test('rule 9: a knock shows its name to all who are in, and who is admitted comes in', async () => {
  const [world, ana, ben] = await locked('Ben');
  const dee = await outside(world, 'Dee');
  const data = await world.wait(dee);
  assert.ok(data.length < 2_048, `${data.length}`);
  assert.ok(!data.replaceAll(dee.id, '').includes('Dee'));
  assert.equal(JSON.parse(data).key, 'A'.repeat(43), 'a key with which nobody can agree on anything');
  for (const member of [ana, ben]) {
    assert.deepEqual([member.last('knock').participant, member.last('knock').name], [dee.id, 'Dee']);
  }
  await host(ana).admit(dee.id);
  await world.quiet();
  for (const member of [ana, ben]) assert.deepEqual(member.all('knock-end').map(({ participant }) => participant), [dee.id]);
  assert.ok(world.stateOfHost.admitted.includes(dee.core.identity));
  await world.enter(dee, dee.id);
  await world.pass(1_500);
  assert.deepEqual([ana.names, ben.names, dee.names], [['Ben', 'Dee'], ['Ana', 'Dee'], ['Ana', 'Ben']]);
  assert.ok(await film(dee, point(ben, dee)) && (await film(ben, point(dee, ben))));
  assert.deepEqual([...ana.all('unverified'), ...ben.all('unverified'), ...dee.all('unverified')], []);
});

test('rule 9: who is denied is on the list of the removed, and may not knock again', async () => {
  const [world, ana, ben] = await locked('Ben');
  const dee = await outside(world, 'Dee');
  await world.wait(dee);
  await host(ana).deny(dee.id);
  await world.quiet();
  assert.deepEqual(world.stateOfHost.removed, [dee.core.identity]);
  assert.ok(ana.last('knock-end') && ben.last('knock-end'));
  await world.wait(dee);
  assert.equal(ana.all('knock').length, 1);
  assert.equal(ana.core.counters.knock, 1);
  assert.ok(dee.last('removed'));
  assert.ok(ana.all('code').every(({ removed }) => removed.length === 0), 'it was never in');
});

test('rule 9: who goes away, or comes again over another connection, is not shown twice', async () => {
  const [world, ana] = await locked();
  const dee = await outside(world, 'Dee');
  const first = await world.wait(dee);
  const before = dee.id;
  ana.core.knocked(dee.id, first);
  ana.core.knocked(dee.id, await dee.core.knock(dee.id));
  await world.quiet();
  assert.equal(ana.all('knock').length, 1);
  await world.wait(dee);
  assert.deepEqual(ana.all('knock').map(({ participant }) => participant), [before, dee.id]);
  assert.deepEqual(ana.all('knock-end').map(({ participant }) => participant), [before]);
  ana.core.knocked(before, first);
  await world.quiet();
  assert.equal(ana.all('knock').length, 2, 'an old knock says nothing new');
  await ana.core.knockEnded(dee.id);
  await ana.core.knockEnded(dee.id);
  assert.equal(ana.all('knock-end').length, 2);
});

test('rule 9: who comes back and has to wait says nothing to those who are in, whom the server would not tell', async () => {
  const [world, ana, ben] = await locked('Ben');
  await world.leave(ana);
  await world.wait(ana);
  await ana.core.send('chat', { id: 'm', text: 'outside' });
  await ana.core.idle();
  assert.deepEqual(ana.outbox, []);
  assert.equal(world.stateOfHost.counter, 3, 'it goes to the server');
  await world.enter(ana, ana.id);
  await world.pass(2_000);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana']]);
});

test('rule 9: knocks that do not hold are counted and shown to nobody', async () => {
  const [world, ana] = await locked();
  const dee = await outside(world, 'Dee');
  const { type, ...fields } = JSON.parse(await dee.core.knock('Dee-9'));
  assert.equal(type, 'knock');
  const spoilt = Object.keys(fields).filter(name => name !== 'v').map(name => ({ ...fields, [name]: 'AAAA' }));
  ana.core.knocked('Dee-8', JSON.stringify({ type, ...fields })); // whole, but of another connection
  const all = [...spoilt.map(each => JSON.stringify({ type, ...each })), '', '{}', 'x', undefined, null, 7, 'x'.repeat(20_000)];
  for (const data of all) ana.core.knocked('Dee-9', data);
  await world.quiet();
  assert.equal(ana.last('knock'), undefined);
  assert.equal(ana.core.counters.knock, all.length + 1);
});

test('rule 9: sixteen may wait; more are counted, and make room for nobody', async () => {
  const [world, ana] = await locked();
  for (let count = 0; count < MAX_KNOCKS + 3; count++) await world.wait(await outside(world, `d${count}`));
  assert.equal(ana.all('knock').length, MAX_KNOCKS);
  assert.equal(ana.core.counters['knock-crowd'], 3);
  await host(ana).lock(false);
  await world.quiet();
  assert.equal(ana.all('knock-end').length, MAX_KNOCKS, 'who waits need not ask any more');
});

test('rule 9: half of the list is left for members: denying more sends away without a word of it', async () => {
  const [world, ana, ben] = await locked('Ben');
  for (let count = 0; count < 66; count++) {
    const guest = await outside(world, `d${count}`);
    await world.wait(guest);
    await host(ana).deny(guest.id);
  }
  await world.quiet();
  assert.equal(world.stateOfHost.removed.length, 64);
  assert.equal(ana.all('knock-end').length, 66);
  await host(ana).remove(ben.id);
  assert.equal(world.stateOfHost.removed.length, 65);
});

test('rule 9: our knocks begin anew when we reconnect, since the server tells them again', async () => {
  const [world, ana] = await locked('Ben');
  const dee = await outside(world, 'Dee');
  const data = await world.wait(dee);
  await world.connect(ana);
  assert.deepEqual(ana.all('knock-end').map(({ participant }) => participant), [dee.id]);
  ana.core.knocked(dee.id, data);
  await world.quiet();
  assert.equal(ana.all('knock').length, 2);
});

test('rule 9: hellos at a locked door are kept, the latest of each connection and not many', async () => {
  const [world, ana, ben] = await locked('Ben');
  const guests = [];
  for (let count = 0; count < MAX_HELD + 2; count++) {
    const guest = await outside(world, `g${count}`);
    guests.push(guest);
    await guest.core.joined(`g${count}-0`, []);
    await guest.core.idle();
    guest.id = `g${count}-0`;
    await ana.core.arrived(guest.id);
    ana.core.receive(guest.id, guest.outbox.splice(0)[0].data);
    await world.quiet();
  }
  await assert.rejects(host(ana).admit(guests[0].id), /no such participant/, 'the oldest gave way');
  await host(ana).admit(guests.at(-1).id);
  assert.ok(world.stateOfHost.admitted.includes(guests.at(-1).core.identity));
  await ana.core.departed(guests.at(-2).id);
  await assert.rejects(host(ana).admit(guests.at(-2).id), /no such participant/, 'it is gone');
  assert.deepEqual(ana.names, ['Ben']);
  assert.ok(await film(ben, point(ana, ben)));
});

test('rule 9: who was met before the lock, and proves itself after it, comes in when it is admitted', async () => {
  const [world, ana, ben] = await locked('Ben');
  await host(ana).lock(false);
  await world.quiet();
  const held = [];
  world.meddle = delivery => {
    if (!delivery.from.startsWith('Dee') || JSON.parse(delivery.data).type === 'hello') return [delivery];
    held.push(delivery);
    return [];
  };
  const dee = await world.join('Dee', world.links.invite, 0);
  await host(ana).lock(true);
  await world.quiet();
  world.meddle = delivery => [delivery];
  for (const { from, to, data } of held) world.members.get(to).core.receive(from, data);
  await world.pass(1_000);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana']]);
  assert.deepEqual(ana.all('unverified').map(({ name, why }) => [name, why]), [['Dee', 'locked']]);
  await host(ana).admit(dee.id);
  await world.pass(2_000);
  assert.deepEqual([ana.names, ben.names, dee.names], [['Ben', 'Dee'], ['Ana', 'Dee'], ['Ana', 'Ben']]);
  for (const [sender, receiver] of [[ana, dee], [dee, ana], [dee, ben]]) {
    assert.ok(await film(sender, point(receiver, sender)), `${sender.label} to ${receiver.label}`);
  }
});
