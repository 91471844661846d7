// What a server that lies can bring about among honest members: at most that they do not hear from one another, and
// that is shown.

import assert from 'node:assert/strict';
import test from 'node:test';
import { covered, fromBase64Url } from '../../web/e2ee/bytes.js';
import { verifyEd25519 } from '../../web/e2ee/derive.js';
import { decodeHeader } from '../../web/e2ee/sframe.js';
import { MaliciousRelay, flipped, helloWithoutLink } from './malicious-relay.js';
import { Member, film, point, vp8 } from './world.js';

const host = member => member.core.moderation;
const whys = (member, id) => member.all('unverified').filter(each => !id || each.participant === id).map(({ why }) => why);

async function call(...names) {
  const relay = await MaliciousRelay.open();
  const members = [];
  for (const name of names) members.push(await relay.join(name, name === 'Ana' ? relay.links.host : undefined));
  await relay.pass(2_000);
  return [relay, ...members];
}

/** The generation that a member encrypts with now. */
async function generationOf(member) {
  return Number(decodeHeader(await member.core.protect('camera', 'vp8', vp8(true)), 10).kid >> 16n);
}

test('rule 8: a ghost that the server brings in is keyed by nobody, is in no code, and is shown', async () => {
  const [relay, ana, ben] = await call('Ana', 'Ben');
  const { code } = ana.last('code');
  await relay.announce('ghost');
  // everything that it can send: a hello of its own, somebody else's, and messages without keys
  await relay.invent('ghost', ana.id, 'hello', await helloWithoutLink('ghost'));
  await relay.replay(relay.recorded('hello', ben, ana)[0], { from: 'ghost' });
  for (const type of ['ready', 'key', 'key-ack', 'message', 'bye']) {
    await relay.replay({ ...relay.recorded(type === 'bye' ? 'ready' : type, ben, ana)[0], to: ana.id }, { from: 'ghost' });
  }
  await relay.pass(8_000);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana']]);
  assert.deepEqual([ana.last('code').code, ben.last('code').code], [code, code]);
  assert.deepEqual([whys(ana, 'ghost').includes('hello'), whys(ana, 'ghost').includes('elsewhere')], [true, true]);
  assert.deepEqual(whys(ben, 'ghost'), ['silent']);
  assert.deepEqual(relay.log.filter(({ to }) => to === 'ghost').map(({ data }) => JSON.parse(data).type), []);
});

test('rules 12 and 14: a silent listener that never acknowledges keeps nobody from changing keys, and is shut out', async () => {
  const [relay, ana, ben, cy, dee] = await call('Ana', 'Ben', 'Cy', 'Dee');
  relay.drop(({ type, from }) => type === 'key-ack' && from === cy.id);
  const slot = point(cy, ben);
  assert.ok(await film(ben, slot));
  await relay.leave(dee);
  const before = await generationOf(ben);
  await relay.pass(2_000);
  assert.ok((await generationOf(ben)) > before, 'two seconds are the most that anybody is waited for');
  assert.ok(await film(ben, slot), 'it listens still');
  await relay.leave(cy);
  await relay.pass(2_000);
  assert.equal(await film(ben, slot), null);
  assert.ok(await film(ben, point(ana, ben)));
});

test('rule 6: a hello that is replayed brings nobody back: not after a leave, not under another id, not to others', async () => {
  const [relay, ana, ben, cy] = await call('Ana', 'Ben', 'Cy');
  const [old] = relay.recorded('hello', ben, ana);
  await relay.leave(ben);
  await relay.pass(2_000);
  const sent = relay.log.length;
  for (const id of [ben.id, 'Ben-99']) {
    await relay.announce(id);
    for (const receiver of [ana, cy]) await relay.replay(old, { from: id, to: receiver.id });
  }
  await relay.pass(1_000);
  assert.deepEqual([ana.names, cy.names], [['Cy'], ['Ana']]);
  assert.deepEqual([whys(ana, ben.id), whys(ana, 'Ben-99')], [['replay'], ['elsewhere']]);
  assert.ok(relay.log.slice(sent).every(({ to }) => to === ana.id || to === cy.id), 'nothing is sent to it');
});

test('rules 7 and 12: a key that is replayed or comes out of order changes no key, and is shown', async () => {
  const [relay, ana, ben] = await call('Ana', 'Ben');
  const slot = point(ben, ana);
  assert.ok(await film(ana, slot));
  const [key] = relay.recorded('key', ana, ben);
  for (let count = 0; count < 5; count++) await relay.replay(key);
  assert.deepEqual(whys(ben, ana.id), ['pair']);
  assert.ok(await film(ana, slot));
  // reordered: the second of two keys comes first, and both wait for nothing
  relay.keep(({ type, from, to }) => type === 'key' && from === ana.id && to === ben.id);
  const cy = await relay.join('Cy');
  await relay.leave(cy);
  await relay.pass(1_500);
  const dee = await relay.join('Dee');
  await relay.leave(dee);
  await relay.pass(3_000);
  assert.ok(relay.kept.length >= 2);
  await relay.release(kept => kept.reverse());
  assert.ok(ben.core.counters.pair >= 6);
  await relay.pass(1_000);
  const { why, stream } = ben.all('unverified').at(-1);
  assert.deepEqual([why, stream], ['pair', undefined]);
});

test('rules 7 and 14: acknowledgements that are replayed do not count for another generation', async () => {
  const [relay, ana, ben, cy] = await call('Ana', 'Ben', 'Cy');
  const acks = relay.recorded('key-ack', ben, ana);
  assert.ok(acks.length > 0);
  relay.drop(({ type, from }) => type === 'key-ack' && from === ben.id);
  const before = await generationOf(ana);
  await relay.leave(cy);
  await relay.pass(100);
  for (const ack of acks) await relay.replay(ack);
  assert.ok(relay.recorded('key', ana, ben).length > 1, 'the next generation is under way');
  assert.equal(await generationOf(ana), before, 'Ben has not acknowledged it');
  assert.ok(whys(ana, ben.id).includes('pair'));
  await relay.pass(2_000);
  assert.ok((await generationOf(ana)) > before);
});

test('rule 10: a bye that is replayed sends nobody away but who said it, and never somebody new', async () => {
  const [relay, ana, ben, cy] = await call('Ana', 'Ben', 'Cy');
  await ben.core.close();
  await relay.quiet();
  const [bye] = relay.recorded('bye', ben, ana);
  await relay.leave(ben);
  const again = await relay.join('Ben');
  await relay.replay(bye, { from: again.id });
  await relay.replay(bye, { from: cy.id });
  assert.deepEqual(ana.names, ['Ben', 'Cy']);
  assert.deepEqual([whys(ana, again.id), whys(ana, cy.id)], [['bye'], ['bye']]);
});

test('rules 10 and 25: rosters that the server splits are shown to all, and their codes differ', async () => {
  const relay = await MaliciousRelay.open();
  relay.part('Ana', 'Cy');
  const [ana, ben, cy] = [await relay.join('Ana'), await relay.join('Ben'), await relay.join('Cy')];
  assert.deepEqual([ana.names, ben.names, cy.names], [['Ben'], ['Ana', 'Cy'], ['Ben']]);
  await relay.pass(7_500);
  assert.deepEqual(ana.last('disagreement').participants.map(({ name }) => name), ['Ben']);
  assert.deepEqual(ben.last('disagreement').participants.map(({ name }) => name).sort(), ['Ana', 'Cy']);
  assert.deepEqual(cy.last('disagreement').participants.map(({ name }) => name), ['Ben']);
  const codes = [ana, ben, cy].map(member => member.last('code').code);
  assert.equal(new Set(codes).size, 3);
});

test('rule 10: a leave that the server withholds is found out by silence, from all or from some', async () => {
  const [relay, ana, ben, cy] = await call('Ana', 'Ben', 'Cy');
  const slot = point(cy, ana);
  assert.ok(await film(ana, slot));
  relay.drop(({ from }) => from === cy.id); // gone, though the server says nothing
  await relay.pass(34_000);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana']]);
  assert.deepEqual([ana.last('code').left, ben.last('code').left], [['Cy'], ['Cy']]);
  assert.equal(await film(ana, slot), null, 'what it is still sent does not open');
  const [second, , dee, eve, fay] = await call('Ana', 'Dee', 'Eve', 'Fay');
  await dee.core.departed(fay.id); // told to Dee alone
  await second.pass(7_500);
  assert.deepEqual([dee.names, eve.names], [['Ana', 'Eve'], ['Ana', 'Dee', 'Fay']]);
  assert.ok(eve.last('disagreement').participants.some(({ name }) => name === 'Dee'));
  assert.ok(dee.last('disagreement').participants.length > 0);
});

test('rule 14: who left while a generation was pending cannot open what is sent under the one that is used', async () => {
  const [relay, ana, ben, cy, dee] = await call('Ana', 'Ben', 'Cy', 'Dee');
  const slots = [ana, ben].map(sender => point(cy, sender));
  for (const [at, sender] of [ana, ben].entries()) assert.ok(await film(sender, slots[at]));
  relay.drop(({ type, from }) => type === 'key-ack' && from === cy.id); // so that it stays pending
  await relay.leave(dee);
  await relay.pass(300);
  const pending = relay.recorded('key', ana, cy).length;
  assert.ok(pending > 1, 'Cy was sent what is to come');
  await host(ana).remove(cy.id);
  await relay.pass(2_000);
  for (const [at, sender] of [ana, ben].entries()) assert.equal(await film(sender, slots[at]), null, sender.label);
  assert.ok(await film(ben, point(ana, ben)));
});

test('rules 6 and 20: ids that the server swaps make nobody pass for another, in words, picture or name', async () => {
  const [relay, ana, ben, cy] = await call('Ana', 'Ben', 'Cy');
  const swap = id => ({ [ben.id]: cy.id, [cy.id]: ben.id })[id] ?? id;
  relay.change(({ to }) => to === ana.id, ({ from }) => ({ from: swap(from) }));
  await ben.core.send('chat', { id: 'm', text: 'it is Ben' });
  await relay.quiet();
  assert.equal(ana.last('message'), undefined);
  const slot = point(ana, cy);
  assert.equal(await film(ben, slot), null, 'the picture of Ben where that of Cy belongs');
  assert.ok(await film(cy, slot));
  // and from the start: a newcomer under an id that another has
  const dee = await Member.make(relay, 'Dee', relay.links.invite);
  await dee.core.joined('Dee-7', []);
  await relay.announce('Dee-8', [ana]);
  ana.core.receive('Dee-8', dee.outbox[0].data);
  await relay.quiet();
  assert.deepEqual(whys(ana, 'Dee-8'), ['elsewhere']);
  assert.deepEqual(ana.names, ['Ben', 'Cy']);
});

test('rule 4: what a join says is of no use on another server, in another call, or for another connection', async () => {
  const [relay, , ben] = await call('Ana', 'Ben');
  const other = await MaliciousRelay.open();
  const stranger = await other.join('Stranger');
  const [nonce, next] = [new Uint8Array(32).fill(7), new Uint8Array(32).fill(8)];
  const text = Buffer.from(nonce).toString('base64url');
  const fields = await ben.core.admission(text, 'sotto.example');
  const [callId, admission, identity, signature, proof] = ['call', 'admission', 'identity', 'signature', 'proof']
    .map(name => fromBase64Url(fields[name]));
  const holds = (about, from, name, who, under) => Promise.all([
    verifyEd25519(globalThis.crypto, admission, signature, covered('join', about, from, name, who)),
    verifyEd25519(globalThis.crypto, under, proof, covered('proof', about, from, name, admission)),
  ]);
  const theirs = fromBase64Url(stranger.core.identity);
  assert.deepEqual(await holds(callId, nonce, 'sotto.example', identity, identity), [true, true]);
  assert.deepEqual(await holds(callId, nonce, 'evil.example', identity, identity), [false, false], 'another server');
  assert.deepEqual(await holds(callId, next, 'sotto.example', identity, identity), [false, false], 'another connection');
  const elsewhere = fromBase64Url(stranger.core.call);
  assert.deepEqual(await holds(elsewhere, nonce, 'sotto.example', identity, identity), [false, false], 'another call');
  assert.deepEqual(await holds(callId, nonce, 'sotto.example', theirs, theirs), [false, false], 'another identity');
  await assert.rejects(ben.core.admission(text.slice(1), 'sotto.example'), RangeError);
  assert.ok(relay);
});

test('rule 9: a knock is of no use for another connection or call, nor as a hello, and a hello is no knock', async () => {
  const [relay, ana, ben] = await call('Ana', 'Ben');
  await host(ana).lock(true);
  const dee = await Member.make(relay, 'Dee', relay.links.invite);
  const knock = await relay.wait(dee);
  assert.equal(ana.last('knock').name, 'Dee');
  ana.forget();
  const [elsewhere, , eve] = await call('Ana', 'Eve');
  const [hello] = relay.recorded('hello', ben, ana);
  ana.core.knocked('Dee-9', knock);
  eve.core.knocked(dee.id, knock);
  ana.core.knocked(ben.id, hello.data);
  ana.core.knocked(dee.id, knock.replace('"knock"', '"hello"'));
  ana.core.knocked(dee.id, flipped(knock, knock.indexOf('"name"') + 20));
  await relay.announce('Dee-9', [ana]);
  for (const from of [dee.id, 'Dee-9']) {
    await relay.announce(from, [ana]);
    await relay.replay({ from, to: ana.id, data: knock.replace('"knock"', '"hello"') });
  }
  await elsewhere.quiet();
  assert.deepEqual([ana.last('knock'), eve.last('knock')], [undefined, undefined]);
  assert.deepEqual([whys(ana, dee.id), whys(ana, 'Dee-9')], [['hello'], ['hello']]);
  assert.ok(ana.core.counters.knock >= 4 && eve.core.counters.knock === 1);
});

test('rule 9: host states that are replayed, invented or of another call change nothing', async () => {
  const [relay, ana, ben, cy] = await call('Ana', 'Ben', 'Cy');
  await host(ana).lock(true);
  await relay.quiet();
  await host(ana).remove(cy.id);
  await relay.pass(1_000);
  const { counter } = ben.last('host');
  const states = relay.recorded('host-state', ana, ben);
  assert.equal(states.length, 2);
  ben.forget();
  for (const old of states) await relay.replay(old);
  assert.deepEqual([ben.last('host'), whys(ben)], [undefined, []], 'what is old or known is of no interest');
  const state = { ...JSON.parse(states[1].data).state, counter: counter + 1, locked: false, removed: [] };
  await relay.invent(ana.id, ben.id, 'host-state', { state });
  const [other, namesake] = await call('Ana', 'Eve');
  await host(namesake).lock(true);
  await other.quiet();
  await relay.replay({ from: ana.id, to: ben.id, data: other.recorded('host-state').at(-1).data });
  for (const value of [undefined, null, 7, [], {}]) await relay.invent(ana.id, ben.id, 'host-state', { state: value });
  assert.equal(ben.last('host'), undefined);
  assert.deepEqual(whys(ben), ['host']);
});

test('rules 9 and 10: a removal that the server withholds from one is shown to all within seven seconds', async () => {
  const [relay, ana, ben, cy] = await call('Ana', 'Ben', 'Cy');
  relay.drop(({ type, to }) => type === 'host-state' && to === ben.id);
  const slot = point(cy, ana);
  assert.ok(await film(ana, slot));
  await host(ana).remove(cy.id);
  await relay.pass(7_500);
  assert.equal(await film(ana, slot), null, 'who knows of it sends nothing that opens');
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana', 'Cy']]);
  assert.deepEqual(ana.last('disagreement').participants.map(({ name }) => name), ['Ben']);
  assert.ok(ben.last('disagreement').participants.some(({ name }) => name === 'Ana'));
  // whoever comes next brings it
  await relay.connect(ana);
  await relay.pass(2_500);
  assert.deepEqual(ben.names, ['Ana']);
  assert.deepEqual(ben.last('code').removed, ['Cy']);
});

test('rule 9: whom the server lets in past the lock is keyed by nobody, and shown with its name', async () => {
  const [relay, ana, ben] = await call('Ana', 'Ben');
  await host(ana).lock(true);
  await relay.quiet();
  const { code } = ana.last('code');
  const dee = await relay.join('Dee');
  await relay.pass(6_000);
  for (const member of [ana, ben]) {
    assert.deepEqual(member.names, member === ana ? ['Ben'] : ['Ana']);
    const shown = member.all('unverified').map(({ participant, name, why }) => [participant, name, why]);
    assert.deepEqual(shown, [[dee.id, 'Dee', 'locked']]);
    assert.equal(member.last('code').code, code);
    assert.equal(await film(member, point(dee, member)), null);
  }
  const sent = new Set(relay.log.filter(({ to }) => to === dee.id).map(({ data }) => JSON.parse(data).type));
  assert.deepEqual([...sent], ['message'], 'what goes to all, and does not open');
  assert.equal(dee.last('message'), undefined);
  // Ben is greeted by it with hello and ready over a new connection: both are kept until it may come in
  await relay.connect(ben);
  await relay.pass(1_500);
  assert.deepEqual(ben.names, ['Ana']);
  await host(ana).admit(dee.id);
  await relay.pass(1_500);
  assert.deepEqual([ana.names, ben.names, dee.names], [['Ben', 'Dee'], ['Ana', 'Dee'], ['Ana', 'Ben']]);
  for (const [sender, receiver] of [[ana, dee], [dee, ben], [ben, dee]]) assert.ok(await film(sender, point(receiver, sender)));
});

test('rule 9: who was let in past the lock, is admitted, and still says nothing that opens, is shown', async () => {
  const [relay, ana] = await call('Ana');
  await host(ana).lock(true);
  await relay.quiet();
  relay.drop(({ type }) => type === 'ready');
  const dee = await relay.join('Dee');
  await host(ana).admit(dee.id);
  await relay.pass(4_000);
  assert.deepEqual(whys(ana, dee.id), ['locked']);
  await relay.pass(3_000);
  assert.deepEqual(whys(ana, dee.id), ['locked', 'ready']);
  assert.deepEqual(ana.names, []);
});

test('rule 9: a member whom the server hid from the host when it locked stays with those who have it, and is shown', async () => {
  const relay = await MaliciousRelay.open();
  relay.part('Ana', 'Cy');
  const [ana, ben, cy] = [await relay.join('Ana', relay.links.host), await relay.join('Ben'), await relay.join('Cy')];
  await relay.pass(6_000);
  await host(ana).lock(true);
  await relay.pass(1_000);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana', 'Cy']]);
  await relay.connect(cy, { told: false });
  await relay.pass(8_000);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana', 'Cy']], 'also over another connection');
  assert.deepEqual(whys(ben, cy.id), []);
  assert.ok(ana.last('disagreement').participants.length > 0 && ben.last('disagreement').participants.length > 0);
});

test('rule 9: who was let in past the lock cannot make a newcomer its companion', async () => {
  const [relay, ana, ben] = await call('Ana', 'Ben');
  await host(ana).lock(true);
  await relay.quiet();
  relay.drop(({ type, to }) => type === 'host-state' && to.startsWith('Spy-')); // it would hand the lock on
  const spy = await relay.join('Spy');
  const dee = await Member.make(relay, 'Dee', relay.links.invite);
  await relay.wait(dee, null); // the server does not tell it of the lock
  await host(ana).admit(dee.id);
  await relay.quiet();
  // the spy is heard first; what the others say, the lock included, comes four seconds later
  const stop = relay.keep(({ to, from }) => to === dee.id && from !== spy.id);
  await relay.enter(dee, dee.id);
  await relay.pass(4_000);
  assert.deepEqual(dee.names, ['Spy']);
  stop();
  await relay.release();
  await relay.pass(2_500);
  assert.deepEqual(dee.names, ['Ana', 'Ben']);
  assert.ok(whys(dee, spy.id).includes('locked'));
  assert.equal(dee.last('code').code, ana.last('code').code);
  assert.equal(await film(dee, point(spy, dee)), null);
  assert.ok(await film(dee, point(ben, dee)));
});

test('rule 9: a removed member whom the server keeps is sent nothing, heard by nobody, and never met again', async () => {
  const [relay, ana, ben, cy] = await call('Ana', 'Ben', 'Cy');
  await host(ana).remove(cy.id);
  await relay.pass(2_500);
  const since = relay.log.length;
  await cy.core.send('chat', { id: 'm', text: 'still here' });
  await relay.quiet();
  await relay.connect(cy); // a new key and a new seq, under the identity that was removed
  await relay.pass(8_000);
  assert.equal(ana.last('message'), undefined);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana']]);
  assert.ok(whys(ana, cy.id).includes('removed'));
  const sent = relay.log.slice(since).filter(({ to, data }) => to === cy.id && !['message'].includes(JSON.parse(data).type));
  assert.deepEqual(sent, [], 'apart from what goes to all and does not open');
  assert.equal(await film(cy, point(ana, cy)), null);
  assert.equal(await film(ana, point(cy, ana)), null);
});

test('rule 24: a tunnel that the server announces, or a description of its making, is refused and shown', async () => {
  const [relay, ana, ben] = await call('Ana', 'Ben');
  await relay.invent(ben.id, ana.id, 'tunnel', { description: 'v=0', counter: 2, box: 'AAAA' });
  await relay.invent(ben.id, ana.id, 'tunnel-over', { path: 'forwarded', counter: 2, box: 'A'.repeat(40) });
  await relay.invent(ben.id, ana.id, 'tunnel', { description: 'v=0' });
  const key = relay.recorded('key', ben, ana)[0];
  await relay.replay({ ...key, data: key.data.replace('"key"', '"tunnel"') });
  await relay.pass(1_000);
  assert.deepEqual([ana.last('tunnel'), ana.last('tunnel-over')], [undefined, undefined]);
  assert.deepEqual(whys(ana, ben.id), ['pair']);
  assert.ok(await film(ben, point(ana, ben)), 'and nothing else is lost by it');
});

test('rule 24: a fingerprint that the server swaps, or any other byte of a description, is refused and shown', async () => {
  const sdp = `v=0\r\na=fingerprint:sha-256 ${'AB:'.repeat(31)}AB\r\na=setup:actpass\r\n`;
  for (const change of ['byte', 'counter', 'cut', 'sender']) {
    const [relay, ana, ben] = await call('Ana', 'Ben');
    relay.change(({ type }) => type === 'tunnel', ({ data }) => {
      const { v, type, counter, box } = JSON.parse(data);
      const changed = {
        byte: { counter, box: flipped(box) },
        counter: { counter: counter + 1, box },
        cut: { counter, box: box.slice(0, -4) },
        sender: { counter, box: box.split('').reverse().join('') },
      }[change];
      return { data: JSON.stringify({ v, type, ...changed }) };
    });
    assert.equal(await ana.core.tunnel(ben.id, sdp), true);
    await relay.quiet();
    assert.equal(ben.last('tunnel'), undefined, change);
    assert.deepEqual(whys(ben, ana.id), ['pair'], change);
  }
});

test('rule 24: every single byte of a sealed description counts', async () => {
  const [relay, ana, ben] = await call('Ana', 'Ben');
  relay.keep(({ type }) => type === 'tunnel');
  await ana.core.tunnel(ben.id, 'a=fingerprint:sha-256 AB');
  await relay.quiet();
  const { from, to, data } = relay.kept.splice(0)[0];
  const { box } = JSON.parse(data);
  for (let at = 0; at < box.length; at++) await relay.replay({ from, to, data: data.replace(box, flipped(box, at)) });
  assert.equal(ben.last('tunnel'), undefined);
  await relay.replay({ from, to, data });
  assert.equal(ben.last('tunnel').description, 'a=fingerprint:sha-256 AB', 'as it was sent it is taken');
  await relay.replay({ from, to, data });
  assert.equal(ben.all('tunnel').length, 1, 'once');
});

test('rule 24: with three, no description is sent or taken, whatever was kept back from when there were two', async () => {
  const [relay, ana, ben] = await call('Ana', 'Ben');
  const stop = relay.keep(({ type }) => type === 'tunnel');
  assert.equal(await ana.core.tunnel(ben.id, 'v=0'), true);
  await relay.quiet();
  stop();
  await relay.join('Cy');
  await relay.release();
  assert.equal(ben.last('tunnel'), undefined);
  assert.equal(ben.core.counters.tunnel, 1);
  assert.equal(await ana.core.tunnel(ben.id, 'v=0'), false);
});

test('rule 24: an over that never came is not taken for one: the server can neither invent nor replay it', async () => {
  const [relay, ana, ben] = await call('Ana', 'Ben');
  assert.equal(await ana.core.tunnelOver(ben.id, 'forwarded'), true);
  await relay.quiet();
  assert.deepEqual(ben.all('tunnel-over').map(({ participant, path }) => [participant, path]), [[ana.id, 'forwarded']]);
  const [over] = relay.recorded('tunnel-over', ana, ben);
  relay.drop(({ type }) => type === 'tunnel-over');
  await ana.core.tunnelOver(ben.id, 'tunnel');
  await relay.quiet();
  for (let count = 0; count < 3; count++) await relay.replay(over);
  assert.equal(ben.all('tunnel-over').length, 1);
  assert.deepEqual(whys(ben, ana.id), ['pair'], 'and that something was dropped is seen with the next');
});

test('rules 7 and 24: what is from before a reconnection is void', async () => {
  const [relay, ana, ben] = await call('Ana', 'Ben');
  relay.keep(({ type }) => type === 'tunnel' || type === 'tunnel-over');
  await ana.core.tunnel(ben.id, 'v=0');
  await ana.core.tunnelOver(ben.id, 'forwarded');
  await relay.quiet();
  const kept = relay.kept.splice(0);
  assert.equal(kept.length, 2);
  await relay.connect(ben);
  await relay.pass(1_500);
  for (const { data } of kept) await relay.replay({ from: ana.id, to: ben.id, data });
  assert.deepEqual([ben.last('tunnel'), ben.last('tunnel-over')], [undefined, undefined]);
  assert.deepEqual(whys(ben, ana.id), ['pair']);
});
