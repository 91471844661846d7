import assert from 'node:assert/strict';
import test from 'node:test';
import { concat, fromBase64Url, toBase64Url, utf8 } from '../../web/e2ee/bytes.js';
import { MAX_MESSAGE } from '../../web/e2ee/envelope.js';
import { SenderKeys } from '../../web/e2ee/sender-key.js';
import { decodeHeader } from '../../web/e2ee/sframe.js';
import { World } from './world.js';

const typeOf = ({ data }) => JSON.parse(data).type;
const sealedBy = (world, member) => world.log.filter(each => each.from === member.id && typeOf(each) === 'message');

async function trio() {
  const world = await World.open();
  return [world, await world.join('Ana'), await world.join('Ben'), await world.join('Cy')];
}

test('rule 22: everyone on the roster reads a chat message with its sender and id, and hears it unsent', async () => {
  const [world, ana, ben, cy] = await trio();
  await ana.core.send('chat', { id: 'm1', text: 'greetings ✓' });
  await ana.core.send('unsend', { id: 'm1' });
  await world.quiet();
  for (const receiver of [ben, cy]) {
    const [chat, unsend] = receiver.all('message');
    assert.deepEqual([chat.participant, chat.name, chat.kind], [ana.id, 'Ana', 'chat']);
    assert.deepEqual(chat.body, { id: 'm1', text: 'greetings ✓' });
    assert.deepEqual([unsend.kind, unsend.body], ['unsend', { id: 'm1' }]);
  }
  assert.ok(!JSON.stringify(world.log).includes('greetings'));
});

test('rule 22: a member who holds the sender key still cannot speak in the name of its owner', async () => {
  const [world, ana, ben] = await trio();
  // Cy seals with Ana's key, as any member could
  const keys = await keysOf(ana);
  const { kid, counter, key } = keys.take(255);
  const lies = utf8('{"kind":"chat","body":{"id":"x","text":"lies"}}');
  const forged = await keys.seal(kid, counter + 5n, key, new Uint8Array(), concat(new Uint8Array(64), lies));
  ben.core.receive(ana.id, JSON.stringify({ v: 1, type: 'message', box: toBase64Url(forged) }));
  await world.quiet();
  assert.equal(ben.last('message'), undefined);
  assert.deepEqual([ben.last('unverified').name, ben.last('unverified').why], ['Ana', 'message']);
});

test('rule 22: the signature covers KID and counter, so a signed message cannot be sealed again', async () => {
  const [world, ana, ben] = await trio();
  const keys = await keysOf(ana);
  const seal = keys.seal.bind(keys);
  let plaintext;
  keys.seal = (kid, counter, key, clear, content) => {
    plaintext = content;
    return seal(kid, counter, key, clear, content);
  };
  await ana.core.send('chat', { id: 'm1', text: 'once' });
  keys.seal = seal;
  await world.quiet();
  assert.equal(ben.all('message').length, 1);
  const { kid, counter, key } = keys.take(255);
  const again = await seal(kid, counter, key, new Uint8Array(), plaintext);
  ben.core.receive(ana.id, JSON.stringify({ v: 1, type: 'message', box: toBase64Url(again) }));
  await world.quiet();
  assert.equal(ben.all('message').length, 1);
  assert.equal(ben.last('unverified').why, 'message');
});

test('rule 22: messages that are replayed, changed or given to another sender are not shown', async () => {
  const [world, ana, ben, cy] = await trio();
  await ana.core.send('chat', { id: 'm1', text: 'once' });
  await world.quiet();
  const { data } = sealedBy(world, ana).filter(({ to }) => to === ben.id).at(-1);
  const changed = fromBase64Url(JSON.parse(data).box);
  changed[20] ^= 1;
  ben.core.receive(ana.id, data);
  ben.core.receive(cy.id, data);
  ben.core.receive(ana.id, JSON.stringify({ v: 1, type: 'message', box: toBase64Url(changed) }));
  await world.quiet();
  assert.equal(ben.all('message').length, 1);
});

test('rule 22: a newcomer is told the state of those who are there, and no older chat', async () => {
  const [world, ana] = await trio();
  await ana.core.send('state', { microphone: false });
  await ana.core.send('chat', { id: 'm1', text: 'before Dee' });
  await world.pass(2_000);
  const dee = await world.join('Dee', world.links.invite, 1_500);
  const fromAna = dee.all('message').filter(({ name }) => name === 'Ana');
  assert.ok(fromAna.length >= 1);
  assert.ok(fromAna.every(({ kind, body }) => kind === 'state' && body.microphone === false));
});

test('rule 22: a message of the wrong form or size is not sent, and one that a member sends is not shown', async () => {
  const [world, ana, ben] = await trio();
  const wrong = [['chat', { text: 'no id' }], ['chat', { id: 'x' }], ['chat', null], ['unsend', { id: '' }],
    ['alive', { roster: '' }], ['constructor', {}], ['chat', { id: 'x', text: 'y'.repeat(9_000) }],
    ['chat', { id: 'x'.repeat(65), text: '' }], ['speaking', { level: 1, more: 'than fits into a hint of one size' }]];
  for (const [kind, body] of wrong) await assert.rejects(ana.core.send(kind, body), RangeError, kind);
  await ana.core.send('chat', { id: 'x', text: '€'.repeat(2_600) });
  await world.quiet();
  assert.equal(ben.last('message').body.text.length, 2_600);
  assert.ok(Math.max(...world.log.map(({ data }) => data.length)) < MAX_MESSAGE);
});

test('rule 23: hints leave at a constant rate and size, whatever is said and whenever the page says it', async () => {
  const [world, ana, ben] = await trio();
  const since = sealedBy(world, ana).length;
  const waits = [10, 240, 700, 90, 400, 33, 800, 250, 1, 600, 250, 250, 250];
  for (const [at, wait] of waits.entries()) {
    await ana.core.send('speaking', { level: at % 10 });
    await world.pass(wait);
  }
  const hints = sealedBy(world, ana).slice(since).filter(({ to }) => to === ben.id);
  const times = hints.map(({ at }) => at);
  const gaps = new Set(times.slice(1).map((at, index) => at - times[index]));
  assert.deepEqual([...gaps], [250]);
  const boxes = hints.map(({ data }) => fromBase64Url(JSON.parse(data).box));
  const sizes = boxes.map(box => box.length - decodeHeader(box).length);
  assert.equal(new Set(sizes).size, 1, 'apart from the counter in the header, which grows by itself');
  assert.ok(ben.all('message').length >= 14 && ben.last('message').kind === 'speaking');
});

test('rule 23: hints end when the microphone is off', async () => {
  const [world, ana, ben] = await trio();
  await ana.core.send('speaking', { level: 3 });
  await world.pass(2_000);
  const count = ben.all('message').length;
  assert.ok(count >= 5 && count <= 7);
  await world.pass(5_000);
  assert.equal(ben.all('message').length, count);
});

test('rule 24: a description reaches the other one while there are two, and is refused by three', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const sdp = 'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n'.repeat(200);
  assert.equal(await ana.core.tunnel(ben.id, sdp), true);
  await world.quiet();
  assert.deepEqual([ben.last('tunnel').participant, ben.last('tunnel').description], [ana.id, sdp]);
  assert.ok(!JSON.stringify(world.log).includes('o=-'));
  assert.equal(await ana.core.tunnel(ben.id, 'x'.repeat(13_000)), false, 'too large for one message');
  assert.equal(await ana.core.tunnel('stranger', sdp), false);
  const cy = await world.join('Cy');
  ben.forget();
  assert.equal(await ana.core.tunnel(ben.id, sdp), false);
  assert.equal(ben.last('tunnel'), undefined);
  await world.leave(cy);
  await world.pass(1_000);
  assert.equal(await ana.core.tunnel(ben.id, sdp), true);
});

test('rule 24: whoever still sees two cannot start a tunnel with one who sees three', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  // the server hides the third from Ana alone
  world.meddle = delivery => {
    const ids = [delivery.from, delivery.to];
    return ids.includes(ana.id) && ids.some(id => id.startsWith('Cy')) ? [] : [delivery];
  };
  await world.join('Cy');
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana', 'Cy']]);
  assert.equal(await ana.core.tunnel(ben.id, 'v=0'), true);
  await world.quiet();
  assert.equal(ben.last('tunnel'), undefined);
  assert.equal(ben.core.counters.tunnel, 1);
});

/** The sender keys of a member, caught when it next uses them. */
async function keysOf(member) {
  const { take } = SenderKeys.prototype;
  let caught;
  SenderKeys.prototype.take = function (stream) {
    caught ??= this;
    return take.call(this, stream);
  };
  await member.core.protect('screen', 'vp9', new Uint8Array(9));
  SenderKeys.prototype.take = take;
  return caught;
}
