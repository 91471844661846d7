// Rule 9: what the host may do, that the others check it themselves, and that all come to one state.

import assert from 'node:assert/strict';
import test from 'node:test';
import { concat, covered, fromBase64Url, toBase64Url, u64 } from '../../web/e2ee/bytes.js';
import { Conversation } from '../../web/e2ee/conversation.js';
import { MAX_MESSAGE } from '../../web/e2ee/envelope.js';
import { MAX_LISTED, readHostState, signHostState, supersedes } from '../../web/e2ee/host-state.js';
import { newLink, openLink } from '../../web/e2ee/link.js';
import { Rekeying } from '../../web/e2ee/rekey.js';
import { changeWindow } from '../../web/e2ee/roster.js';
import { SenderKeys } from '../../web/e2ee/sender-key.js';
import { Clock, Member, World, crypto, film, point } from './world.js';

const typeOf = ({ data }) => JSON.parse(data).type;
const identityOf = value => new Uint8Array(32).fill(value);
const bytesOf = member => fromBase64Url(member.core.identity, 32);
const host = member => member.core.moderation;

async function hosted(...names) {
  const world = await World.open();
  const ana = await world.join('Ana', world.links.host);
  const others = [];
  for (const name of names) others.push(await world.join(name));
  await world.pass(1_500);
  return [world, ana, ...others];
}

async function secretsOfHost() {
  return openLink(crypto, (await newLink(crypto, 'https://sotto.test')).host);
}

const ruling = change => ({ host: identityOf(1), counter: 1, locked: false, admitted: [], removed: [], ...change });

test('rule 9: a host state is read as it was signed, by whoever has the invite link', async () => {
  const links = await newLink(crypto, 'https://sotto.test');
  const [secrets, guest] = [await openLink(crypto, links.host), await openLink(crypto, links.invite)];
  const lists = { admitted: [identityOf(9), identityOf(2), identityOf(9)], removed: [identityOf(7)] };
  const { wire } = await signHostState(crypto, secrets, ruling({ counter: 3, locked: true, ...lists }));
  const read = await readHostState(crypto, guest, JSON.parse(JSON.stringify(wire)));
  assert.deepEqual([read.counter, read.locked, read.host], [3, true, identityOf(1)]);
  assert.deepEqual([read.admitted, read.removed], [[identityOf(2), identityOf(9)], [identityOf(7)]]);
  await assert.rejects(signHostState(crypto, guest, ruling()), RangeError);
});

test('rule 9: a host state with anything changed, or that another key or call has signed, is none', async () => {
  const [secrets, others] = [await secretsOfHost(), await secretsOfHost()];
  const lists = { locked: true, admitted: [identityOf(2), identityOf(3)], removed: [identityOf(7)] };
  const { wire } = await signHostState(crypto, secrets, ruling({ counter: 5, ...lists }));
  const changes = {
    key: toBase64Url(others.hostPublic), host: toBase64Url(identityOf(2)), counter: 6, locked: false,
    admitted: [wire.admitted[0]], removed: [], signature: toBase64Url(new Uint8Array(64)),
  };
  assert.deepEqual(Object.keys(changes), Object.keys(wire));
  for (const [name, value] of Object.entries(changes)) {
    assert.equal(await readHostState(crypto, secrets, { ...wire, [name]: value }), null, name);
    for (const broken of [undefined, null, 0, -1, 1.5, 2 ** 53, 'x', [7], {}, Array(200).fill(wire.host)]) {
      assert.equal(await readHostState(crypto, secrets, { ...wire, [name]: broken }), null, `${name} ${broken}`);
    }
  }
  for (const value of [null, undefined, 7, 'x', [], {}]) assert.equal(await readHostState(crypto, secrets, value), null);
  assert.equal(await readHostState(crypto, others, wire), null, 'another call');
  const forged = { ...others, call: secrets.call, host: secrets.host };
  assert.equal(await readHostState(crypto, secrets, (await signHostState(crypto, forged, ruling())).wire), null);
  assert.ok(await readHostState(crypto, secrets, wire));
});

test('rule 9: lists are strictly ascending, so that a state has one form', async () => {
  const secrets = await secretsOfHost();
  const [one, two] = [identityOf(2), identityOf(3)];
  for (const [list, holds] of [[[one, two], true], [[two, one], false], [[one, one, two], false]]) {
    for (const [admitted, removed] of [[list, []], [[], list]]) {
      const { wire } = await signHostState(crypto, secrets, ruling({ admitted: [], removed: [] }));
      const fields = [identityOf(1), u64(1), Uint8Array.of(0), concat(...admitted), concat(...removed)];
      const signed = covered('host-state', secrets.call, ...fields);
      const signature = toBase64Url(new Uint8Array(await crypto.subtle.sign('Ed25519', secrets.hostKey, signed)));
      const lists = { admitted: admitted.map(toBase64Url), removed: removed.map(toBase64Url) };
      assert.equal((await readHostState(crypto, secrets, { ...wire, ...lists, signature })) !== null, holds);
    }
  }
});

test('rule 9: a higher counter wins, and of two alike the greater bytes, whichever came first', async () => {
  const secrets = await secretsOfHost();
  const states = [];
  for (const change of [{ counter: 1 }, { counter: 2 }, { counter: 2, locked: true }, { counter: 2, host: identityOf(2) }]) {
    states.push(await signHostState(crypto, secrets, ruling(change)));
  }
  const latest = order => order.reduce((best, state) => (supersedes(state, best) ? state : best), null);
  for (const [at] of states.entries()) assert.equal(latest([...states.slice(at), ...states.slice(0, at)]), states[3]);
  assert.equal(latest([...states].reverse()), states[3]);
  assert.equal(supersedes(states[3], states[3]), false);
});

test('rule 9: the fullest state fits into one message, sealed inside a ready or on its own', async () => {
  const secrets = await secretsOfHost();
  const fill = first => Array.from({ length: MAX_LISTED }, (_, at) => identityOf(at).fill(first, 16));
  const full = { counter: Number.MAX_SAFE_INTEGER, locked: true, admitted: fill(1), removed: fill(2) };
  const { wire } = await signHostState(crypto, secrets, ruling(full));
  assert.ok(await readHostState(crypto, secrets, wire));
  const sealed = Math.ceil(((JSON.stringify({ tunnel: false, host: wire }).length + 16) * 4) / 3);
  assert.ok(sealed + 100 <= MAX_MESSAGE, `${sealed}`);
  const more = { ...full, admitted: [...full.admitted, identityOf(200)] };
  await assert.rejects(signHostState(crypto, secrets, ruling(more)), /full/);
  await assert.rejects(signHostState(crypto, secrets, ruling({ ...full, counter: 2 ** 53 })), /full/);
});

test('rule 9: who holds the host link says so after it has heard the others, and all are told', async () => {
  const [world, ana, ben, cy] = await hosted('Ben', 'Cy');
  for (const member of [ana, ben, cy]) {
    const { present, locked, counter, mine } = member.last('host');
    assert.deepEqual([present, locked, counter, mine], [ana.id, false, 1, member === ana]);
  }
  assert.deepEqual(ben.last('roster').participants.map(({ name, host: isHost }) => [name, isHost]), [['Ana', true], ['Cy', false]]);
  assert.deepEqual([host(ana).isHost, host(ben).isHost], [true, false]);
  await world.leave(ana);
  assert.equal(ben.last('host').present, null);
  const again = await world.join('Ana again', world.links.host);
  await world.pass(1_500);
  assert.deepEqual([ben.last('host').present, ben.last('host').counter], [again.id, 2]);
});

test('rule 9: nobody without the host link can lock, admit, deny, remove or mute', async () => {
  const [world, , ben, cy] = await hosted('Ben', 'Cy');
  const before = world.log.length;
  for (const act of ['lock', 'admit', 'deny', 'remove', 'muteAll']) {
    await assert.rejects(async () => host(ben)[act](act === 'lock' ? true : cy.id), RangeError, act);
  }
  await world.quiet();
  assert.equal(world.log.length, before);
  assert.equal(ben.last('host-state'), undefined);
});

test('rule 9: locking lists all who are in, so that who reconnects gets back in', async () => {
  const [world, ana, ben, cy] = await hosted('Ben', 'Cy');
  await host(ana).lock(true);
  await world.pass(500);
  assert.deepEqual([ben.last('host').locked, ben.last('host').counter], [true, 2]);
  const listed = ana.last('host-state').state.admitted;
  assert.deepEqual(listed, [ana, ben, cy].map(bytesOf).sort(Buffer.compare).map(toBase64Url));
  await world.connect(cy);
  await world.pass(2_000);
  assert.deepEqual([ana.names, ben.names, cy.names], [['Ben', 'Cy'], ['Ana', 'Cy'], ['Ana', 'Ben']]);
  assert.ok(await film(cy, point(ana, cy)));
  assert.equal(cy.last('host').locked, true);
  await host(ana).lock(false);
  const dee = await world.join('Dee');
  assert.deepEqual(dee.names, ['Ana', 'Ben', 'Cy']);
  assert.deepEqual([dee.last('host').locked, dee.last('host').present], [false, ana.id]);
});

test('rule 9: a newcomer is handed the state inside the ready of those who are there', async () => {
  const [world, ana, ben] = await hosted('Ben');
  await host(ana).lock(true);
  await host(ana).lock(false);
  await world.quiet();
  const since = world.log.length;
  world.meddle = delivery => (delivery.from === ana.id ? [] : [delivery]);
  const cy = await world.join('Cy');
  assert.equal(cy.last('host').counter, ben.last('host').counter);
  assert.ok(!world.log.slice(since).some(each => typeOf(each) === 'host-state'));
});

test('rule 9: a removed member decrypts nothing two seconds later; the code changes and says who it was', async () => {
  const [world, ana, ben, cy] = await hosted('Ben', 'Cy');
  const slot = point(cy, ben);
  assert.ok(await film(ben, slot));
  const { code } = ben.last('code');
  await host(ana).remove(cy.id);
  await world.pass(2_000);
  assert.equal(await film(ben, slot), null);
  assert.equal(await film(ana, point(cy, ana)), null);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana']]);
  for (const member of [ana, ben]) {
    const last = member.last('code');
    assert.notEqual(last.code, code);
    assert.deepEqual([last.left, last.removed], [[], ['Cy']]);
    assert.equal(member.last('host').locked, true);
  }
  assert.equal(cy.all('removed').length, 1);
});

test('rule 9: a removal is for good, though a later state should not list it', async () => {
  const [world, ana, ben, cy] = await hosted('Ben', 'Cy');
  await host(ana).remove(cy.id);
  await world.pass(1_000);
  const secrets = await openLink(crypto, world.links.host);
  const { wire } = await signHostState(crypto, secrets, ruling({ host: bytesOf(ana), counter: 9 }));
  ben.core.receive(ana.id, JSON.stringify({ v: 1, type: 'host-state', state: wire }));
  await world.connect(cy);
  await world.pass(2_500);
  assert.equal(ben.last('host').counter, 9);
  assert.deepEqual(ben.names, ['Ana']);
  assert.deepEqual(ben.all('unverified').map(({ name, why }) => [name, why]), [['', 'replay']]);
});

test('rule 9: after a removal keys change at once, whatever changed just before', async () => {
  const [world, ana, ben, cy] = await hosted('Ben', 'Cy');
  await world.join('Dee', world.links.invite, 100);
  const since = world.log.length;
  await host(ana).remove(cy.id);
  await world.quiet();
  const keys = world.log.slice(since).filter(each => typeOf(each) === 'key');
  for (const [from, to] of [[ana, ben], [ben, ana]]) {
    assert.equal(keys.filter(each => each.from === from.id && each.to === to.id).length, 1, from.label);
  }
  assert.ok(!keys.some(({ to }) => to === cy.id));
});

test('rule 9: two seconds are enough also in a large call, which gathers other changes for longer', async () => {
  for (const shutOut of [true, false]) {
    const clock = new Clock();
    const [ben, cy] = [{}, {}];
    const keys = new SenderKeys(crypto, new Uint8Array(4));
    const rekeying = new Rekeying(keys, {
      now: () => clock.time,
      later: (milliseconds, task) => clock.after(milliseconds, task),
      window: () => changeWindow(100),
      members: () => [ben],
      deliver: async () => undefined,
      changed: async () => undefined,
    });
    await rekeying.entered(ben);
    await rekeying.departed({});
    await rekeying.departed(cy, shutOut);
    for (let timer = clock.due(2_000); timer; timer = clock.due(2_000)) {
      clock.time = timer.at;
      await timer.task();
    }
    assert.equal(keys.current.generation > 0, shutOut, 'a departure alone is waited out for longer');
  }
});

test('rule 9: a host cannot remove somebody who is not there, and a full list says what to do', async () => {
  const [world, ana] = await hosted('Ben');
  await assert.rejects(host(ana).remove('nobody'), /no such participant/);
  await assert.rejects(host(ana).admit('nobody'), /no such participant/);
  const secrets = await openLink(crypto, world.links.host);
  const removed = Array.from({ length: MAX_LISTED }, (_, at) => identityOf(at));
  const { wire } = await signHostState(crypto, secrets, ruling({ counter: 9, removed }));
  const ben = world.everyone.find(({ label }) => label === 'Ben');
  ana.core.receive(ben.id, JSON.stringify({ v: 1, type: 'host-state', state: wire }));
  await world.quiet();
  assert.equal(ana.last('host').counter, 9);
  await assert.rejects(host(ana).remove(ben.id), /start a new call/);
  assert.deepEqual(ana.names, ['Ben']);
});

test('rule 9: what a host does before it has heard the others comes after their state, not before', async () => {
  const [world, ana, ben] = await hosted('Ben');
  await host(ana).lock(true);
  await host(ana).lock(false);
  await world.quiet();
  await world.leave(ana);
  const again = await Member.make(world, 'Ana again', world.links.host);
  const locking = world.connect(again).then(() => undefined);
  const locked = host(again).lock(true);
  await locking;
  await world.pass(1_500);
  await locked;
  await world.quiet();
  assert.deepEqual([ben.last('host').locked, ben.last('host').present, ben.last('host').counter], [true, again.id, 5]);
});

test('rule 9: what a host does while it reconnects comes after what another host did meanwhile', async () => {
  const [world, ana, ben] = await hosted('Ben');
  const ada = await world.join('Ada', world.links.host);
  await world.pass(1_500);
  await world.leave(ana);
  await host(ada).lock(true);
  await host(ada).lock(false);
  await world.quiet();
  const connected = world.connect(ana);
  const locked = host(ana).lock(true);
  await connected;
  await world.pass(1_500);
  await locked;
  await world.quiet();
  for (const member of [ana, ben, ada]) {
    assert.deepEqual([member.last('host').locked, member.last('host').present], [true, ana.id], member.label);
  }
});

test('rule 9: a host that comes back to its locked call with another identity gets in and is the host', async () => {
  const [world, ana, ben] = await hosted('Ben');
  await host(ana).lock(true);
  await world.quiet();
  await world.leave(ana);
  const again = await Member.make(world, 'Ana again', world.links.host);
  await world.wait(again);
  assert.equal(again.last('host-state').state.counter, 3);
  await world.enter(again, again.id);
  await world.pass(2_000);
  assert.deepEqual([ben.names, again.names], [['Ana again'], ['Ben']]);
  assert.deepEqual([ben.last('host').present, ben.last('host').locked], [again.id, true]);
  assert.ok(await film(ben, point(again, ben)));
  assert.equal(ben.all('unverified').find(({ why }) => why === 'locked'), undefined, 'its state came before its hello');
});

test('rule 9: two who hold the host link come to one state, and neither undoes what the other removed', async () => {
  const [world, ana, ben, cy] = await hosted('Ben', 'Cy');
  const ada = await world.join('Ada', world.links.host);
  await world.pass(1_500);
  assert.deepEqual([ana.last('host').mine, ada.last('host').mine], [false, true]);
  // both at once: each signs the same counter before it has heard of the other's
  await Promise.all([host(ana).remove(ben.id), host(ada).remove(cy.id)]);
  await world.pass(3_000);
  for (const member of [ana, ada]) {
    assert.deepEqual(member.names, [member === ana ? 'Ada' : 'Ana']);
    assert.equal(member.last('host').locked, true);
  }
  assert.deepEqual([ana.last('host').counter, ana.last('host').present], [ada.last('host').counter, ada.last('host').present]);
  assert.ok(ben.last('removed') && cy.last('removed'));
  const sent = world.log.length;
  await world.pass(5_000);
  assert.ok(!world.log.slice(sent).some(each => typeOf(each) === 'host-state'), 'they do not go on for ever');
  assert.equal(ana.last('disagreement'), undefined);
});

test('rule 9: of two hosts, one locking and one admitting at once, neither is lost', async () => {
  const [world, ana] = await hosted('Ben');
  const ada = await world.join('Ada', world.links.host);
  await world.pass(1_500);
  await host(ana).lock(true);
  await world.quiet();
  const [dee, eve] = [await Member.make(world, 'Dee', world.links.invite), await Member.make(world, 'Eve', world.links.invite)];
  await world.wait(dee);
  await world.wait(eve);
  await Promise.all([host(ana).admit(dee.id), host(ada).admit(eve.id)]);
  await world.pass(500);
  const { admitted } = world.stateOfHost;
  for (const member of [dee, eve]) assert.ok(admitted.includes(member.core.identity), member.label);
  assert.equal(ana.last('host').counter, ada.last('host').counter);
});

test('rule 9: the digest in alive covers the counter: who is kept from a state is shown, and shown it', async () => {
  const [world, ana, ben, cy] = await hosted('Ben', 'Cy');
  world.meddle = delivery => (typeOf(delivery) === 'host-state' && delivery.to === cy.id ? [] : [delivery]);
  await host(ana).lock(true);
  await world.pass(4_500);
  for (const member of [ana, ben, cy]) assert.equal(member.last('disagreement'), undefined);
  await world.pass(3_000);
  for (const member of [ana, ben]) assert.deepEqual(member.last('disagreement').participants.map(({ name }) => name), ['Cy']);
  assert.deepEqual(cy.last('disagreement').participants.map(({ name }) => name).sort(), ['Ana', 'Ben']);
});

test('rule 9: a wish to mute counts only from the host', async () => {
  const [world, ana, ben, cy] = await hosted('Ben', 'Cy');
  await host(ana).muteAll();
  await world.quiet();
  for (const member of [ben, cy]) {
    const { participant, kind, body } = member.last('message');
    assert.deepEqual([participant, kind, body], [ana.id, 'mute', {}]);
  }
  await assert.rejects(ben.core.send('mute', {}), RangeError);
  // Ben, whose client was made to, says it all the same: signed by Ben, and by nobody who may
  const { broadcast } = Conversation.prototype;
  Conversation.prototype.broadcast = function (kind, body) {
    return broadcast.call(this, kind === 'unsend' ? 'mute' : kind, kind === 'unsend' ? {} : body);
  };
  await ben.core.send('unsend', { id: 'm' });
  Conversation.prototype.broadcast = broadcast;
  await world.quiet();
  for (const member of [ana, cy]) assert.equal(member.core.counters.mute, 1);
  assert.equal(cy.all('message').length, 1);
  assert.equal(ana.last('message'), undefined);
  // another one who holds the host link is the host by now
  await world.join('Ada', world.links.host);
  await world.pass(1_500);
  ben.forget();
  await host(ana).muteAll();
  await world.quiet();
  assert.equal(ben.last('message').participant, ana.id, 'who asks says first that it is the host');
  assert.equal(cy.last('host').present, ana.id);
});
