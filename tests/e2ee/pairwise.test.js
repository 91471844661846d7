import assert from 'node:assert/strict';
import test from 'node:test';
import { fromBase64Url, toBase64Url, utf8 } from '../../web/e2ee/bytes.js';
import { readHello, tidyName, writeHello } from '../../web/e2ee/hello.js';
import { newLink, openLink } from '../../web/e2ee/link.js';
import { agree } from '../../web/e2ee/pairwise.js';
import { World, crypto } from './world.js';

const newSecrets = async () => openLink(crypto, (await newLink(crypto, 'https://sotto.test')).invite);

async function keyPair(algorithm, usages) {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(algorithm, false, usages);
  return { privateKey, publicKey: new Uint8Array(await crypto.subtle.exportKey('raw', publicKey)) };
}

/** Two ends that agreed, and what they agreed with. */
async function agreed({ psk = new Uint8Array(32), otherPsk = psk } = {}) {
  const [a, b] = [await keyPair('X25519', ['deriveBits']), await keyPair('X25519', ['deriveBits'])];
  const [ours, theirs, call] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2), new Uint8Array(16)];
  return [
    await agree(crypto, { call, psk, ours, theirs }, a.privateKey, b.publicKey),
    await agree(crypto, { call, psk: otherPsk, ours: theirs, theirs: ours }, b.privateKey, a.publicKey),
  ];
}

async function hello(secrets, change = {}) {
  const identity = await keyPair('Ed25519', ['sign', 'verify']);
  const key = new Uint8Array(32).fill(9);
  const fields = { identity: identity.publicKey, key, seq: 1, participant: 'p1', name: 'Ana', ...change };
  return writeHello(crypto, secrets, identity.privateKey, fields);
}

test('rule 5: every call has another identity, every connection another key, and neither can be read back', async () => {
  const world = await World.open();
  const exportable = [];
  const generateKey = crypto.subtle.generateKey.bind(crypto.subtle);
  crypto.subtle.generateKey = (algorithm, extractable, usages) => {
    exportable.push(extractable);
    return generateKey(algorithm, extractable, usages);
  };
  const [first, second] = [await world.join('Ana'), await world.join('Ana')];
  await world.connect(first);
  crypto.subtle.generateKey = generateKey;
  assert.notEqual(first.core.identity, second.core.identity);
  assert.ok(exportable.length >= 5 && exportable.every(each => each === false));
  const said = world.log.filter(({ data }) => data.includes('"hello"')).map(({ data }) => JSON.parse(data));
  const ofFirst = said.filter(({ identity }) => identity === first.core.identity);
  const keys = new Map(ofFirst.map(({ seq, key }) => [seq, key]));
  assert.equal(keys.size, 2);
  assert.equal(new Set(keys.values()).size, 2, 'a new key with the new connection');
});

test('rule 6: a hello is read as it was written', async () => {
  const secrets = await newSecrets();
  const read = await readHello(crypto, secrets, await hello(secrets, { name: '  Ana\u202e \n María ' }));
  assert.deepEqual([read.seq, read.participant, read.name], [1, 'p1', 'Ana María']);
});

test('rule 6: a hello with any field changed, or from outside the link, is refused', async () => {
  const secrets = await newSecrets();
  const fields = await hello(secrets);
  for (const name of Object.keys(fields)) {
    const value = fields[name];
    const changed = typeof value === 'number' ? value + 1 : flip(value, name === 'participant');
    assert.equal(await readHello(crypto, secrets, { ...fields, [name]: changed }), null, name);
    for (const broken of [undefined, null, '', 7.5, -1, [], {}, 'x'.repeat(5000)]) {
      assert.equal(await readHello(crypto, secrets, { ...fields, [name]: broken }), null, `${name} ${broken}`);
    }
  }
  assert.equal(await readHello(crypto, await newSecrets(), fields), null, 'another link');
});

test('rule 6: without the link nobody can sign a hello for themselves, nor with it for another', async () => {
  const secrets = await newSecrets();
  const [fields, other] = [await hello(secrets), await hello(secrets)];
  assert.equal(await readHello(crypto, secrets, { ...fields, identity: other.identity }), null);
  assert.equal(await readHello(crypto, secrets, { ...fields, signature: other.signature }), null);
  const ownMac = await newSecrets();
  assert.equal(await readHello(crypto, secrets, await hello({ ...ownMac, call: secrets.call })), null);
});

test('rule 6: a name is sealed: it stands in no message', async () => {
  const world = await World.open();
  await world.join('Wilhelmina');
  await world.join('Ben');
  const said = world.log.map(({ data }) => data + Buffer.from(data, 'base64url').toString('latin1')).join('\n');
  assert.ok(said.includes('"hello"'));
  const withoutIds = said.replaceAll(/Wilhelmina-\d+/g, '');
  assert.ok(!withoutIds.includes('Wilhelmina') && !withoutIds.includes(toBase64Url(utf8('Wilhelmina'))));
});

test('rule 6: names are cut at 96 bytes between characters', () => {
  assert.equal(utf8(tidyName('é'.repeat(80))).length, 96);
  assert.equal(tidyName(`${'a'.repeat(95)}é`), 'a'.repeat(95));
  assert.equal(tidyName('\u0000\u2028\u200f'), '');
});

test('rule 7: each direction has its own key, and both ends agree on both', async () => {
  const [a, b] = await agreed();
  const there = await a.seal('key', utf8('hello'));
  assert.deepEqual(await b.open('key', there.counter, there.box), utf8('hello'));
  const back = await b.seal('key', utf8('hello'));
  assert.deepEqual(await a.open('key', back.counter, back.box), utf8('hello'));
  assert.notDeepEqual(there.box, back.box);
  const reflected = await a.seal('key', utf8('mine'));
  assert.equal(await a.open('key', reflected.counter, reflected.box), null, 'our own message sent back to us');
});

test('rule 7: gaps, replays, other types and changed bytes are refused, and change nothing', async () => {
  const [a, b] = await agreed();
  const sealed = [];
  for (let count = 0; count < 3; count++) sealed.push(await a.seal('key', Uint8Array.of(count)));
  assert.deepEqual(sealed.map(({ counter }) => counter), [0, 1, 2]);
  assert.equal(await b.open('key', 1, sealed[1].box), null, 'a gap');
  assert.equal(await b.open('key', 0, sealed[1].box), null, 'another counter');
  assert.equal(await b.open('ready', 0, sealed[0].box), null, 'another type');
  assert.equal(await b.open('key', 0, sealed[0].box.map((byte, at) => byte ^ (at === 0 ? 1 : 0))), null);
  assert.deepEqual(await b.open('key', 0, sealed[0].box), Uint8Array.of(0));
  assert.equal(await b.open('key', 0, sealed[0].box), null, 'a replay');
  assert.equal(await b.open('key', 2, sealed[2].box), null, 'a gap');
  assert.deepEqual(await b.open('key', 1, sealed[1].box), Uint8Array.of(1));
});

test('rule 7: without the psk of the link nothing opens', async () => {
  const [a, b] = await agreed({ otherPsk: new Uint8Array(32).fill(1) });
  const { counter, box } = await a.seal('ready', utf8('{}'));
  assert.equal(await b.open('ready', counter, box), null);
});

test('rule 7: keys of small order, whose result is all zero, agree with nobody', async () => {
  const { privateKey } = await keyPair('X25519', ['deriveBits']);
  const side = { call: new Uint8Array(16), psk: new Uint8Array(32), ours: new Uint8Array(32), theirs: new Uint8Array(32) };
  const one = new Uint8Array(32);
  one[0] = 1;
  const order8 = fromBase64Url('4Ot6fDtBuK4WVuP68Z_EatoJjeucMrH9hmIFFl9JuAA', 32);
  for (const key of [new Uint8Array(32), one, order8, new Uint8Array(31)]) {
    assert.equal(await agree(crypto, side, privateKey, key), null);
  }
});

test('rule 7: a hello whose key agrees with nobody is refused and shown', async () => {
  const world = await World.open();
  const ana = await world.join('Ana');
  const secrets = await openLink(crypto, world.links.invite);
  await ana.core.arrived('p1');
  const fields = await hello(secrets, { key: new Uint8Array(32) });
  ana.core.receive('p1', JSON.stringify({ v: 1, type: 'hello', ...fields }));
  await world.quiet();
  assert.deepEqual([ana.last('unverified').participant, ana.last('unverified').why], ['p1', 'hello']);
  assert.deepEqual(ana.names, []);
});

test('rule 7: a new connection replaces the keys in both directions', async () => {
  const world = await World.open();
  const [ana, ben] = [await world.join('Ana'), await world.join('Ben')];
  const before = world.log.filter(({ data }) => data.includes('"counter":0')).length;
  await world.connect(ben);
  await world.pass(1_000);
  const fresh = world.log.filter(({ data }) => data.includes('"counter":0')).slice(before);
  assert.ok(fresh.some(({ from }) => from === ana.id) && fresh.some(({ from }) => from === ben.id));
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana']]);
});

function flip(value, plain) {
  if (plain) return `${value}x`;
  const bytes = fromBase64Url(value);
  bytes[bytes.length - 1] ^= 1;
  return toBase64Url(bytes);
}
