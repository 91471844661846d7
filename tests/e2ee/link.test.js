import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { fromBase64Url, join, toBase64Url } from '../../web/e2ee/bytes.js';
import { ed25519FromSeed, hkdf, hkdfKey, verifyEd25519 } from '../../web/e2ee/derive.js';
import { callId, inviteLink, newLink, openLink, signJoin, proveJoin } from '../../web/e2ee/link.js';
import { crypto } from './world.js';

const ORIGIN = 'https://sotto.example';
const admission = JSON.parse(readFileSync(new URL('../../signaling/vectors/admission.json', import.meta.url), 'utf8'));

test('fields are joined each behind its length in two bytes', () => {
  assert.deepEqual([...join('ab', new Uint8Array(1), Uint8Array.of(7, 8, 9))], [0, 2, 97, 98, 0, 1, 0, 0, 3, 7, 8, 9]);
  assert.deepEqual([...join('é')], [0, 2, 0xc3, 0xa9]);
  assert.throws(() => join(new Uint8Array(65_536)), RangeError);
});

test('base64url has one spelling', () => {
  for (const wrong of ['A', 'AB', 'AA==', 'A A', 'A+/A', 'AAB', 7, null, undefined, {}]) {
    assert.equal(fromBase64Url(wrong), null, String(wrong));
  }
  assert.deepEqual([...fromBase64Url('AQID')], [1, 2, 3]);
  assert.equal(fromBase64Url('AQID', 4), null);
  const long = new Uint8Array(10_000).map((_, at) => at * 7);
  assert.deepEqual(fromBase64Url(toBase64Url(long)), long);
});

test('rules 1 and 2: a host link has 43 characters of secret, its invite link 64, and they open the same call', async () => {
  const { host, invite } = await newLink(crypto, ORIGIN);
  assert.match(host, /^https:\/\/sotto\.example\/c#[\w-]{43}$/);
  assert.match(invite, /^https:\/\/sotto\.example\/c#[\w-]{64}$/);
  assert.equal(await inviteLink(crypto, host, ORIGIN), invite);
  assert.equal(await inviteLink(crypto, invite, ORIGIN), invite);
  const [asHost, asGuest] = [await openLink(crypto, host), await openLink(crypto, invite)];
  for (const field of ['call', 'admission', 'host', 'psk']) assert.deepEqual(asHost[field], asGuest[field], field);
  assert.ok(asHost.hostKey);
  assert.equal(asGuest.hostKey, null);
  const other = await newLink(crypto, ORIGIN);
  assert.notDeepEqual((await openLink(crypto, other.host)).call, asHost.call);
});

test('rule 2: a link that is cut short, or has another length, opens nothing', async () => {
  const { host, invite } = await newLink(crypto, ORIGIN);
  for (const link of [`${ORIGIN}/c`, `${ORIGIN}/c#`, host.slice(0, -1), invite.slice(0, -2), `${invite}AAAA`, `${host}*`]) {
    await assert.rejects(openLink(crypto, link), RangeError, link);
  }
});

test('rules 1, 3 and 4: the server checks the same call ids and signatures as are made here', async () => {
  assert.ok(admission.length > 0);
  for (const vector of admission) {
    const root = await hkdfKey(crypto, fromBase64Url(vector.host_secret, 32));
    assert.equal(toBase64Url(await hkdf(crypto, root, 'host', 32)), vector.host_seed);
    assert.equal(toBase64Url(await hkdf(crypto, root, 'invite', 32)), vector.invite_secret);
    const hostKey = await ed25519FromSeed(crypto, fromBase64Url(vector.host_seed, 32));
    assert.equal(toBase64Url(hostKey.publicKey), vector.host_public);
    const secrets = await openLink(crypto, vector.host_secret);
    assert.equal(toBase64Url(secrets.host), vector.host);
    assert.equal(toBase64Url(secrets.admission), vector.admission);
    assert.equal(toBase64Url(secrets.call), vector.call);
    const [nonce, identity] = [fromBase64Url(vector.nonce), fromBase64Url(vector.identity)];
    const signature = await signJoin(crypto, secrets, nonce, vector.host_name, identity);
    assert.equal(toBase64Url(signature), vector.signature);
    const own = await ed25519FromSeed(crypto, fromBase64Url(vector.identity_seed, 32));
    assert.equal(toBase64Url(own.publicKey), vector.identity);
    const proof = await proveJoin(crypto, secrets, own.privateKey, nonce, vector.host_name);
    assert.equal(toBase64Url(proof), vector.proof);
  }
});

test('rule 3: admission, psk, mac and profile are unrelated, and the private ones cannot be read back', async () => {
  const { invite } = await newLink(crypto, ORIGIN);
  const secrets = await openLink(crypto, invite);
  assert.notDeepEqual(secrets.psk, secrets.admission);
  for (const key of [secrets.admissionKey, secrets.mac, secrets.profile]) {
    assert.equal(key.extractable, false);
    for (const form of ['raw', 'jwk', 'pkcs8']) await assert.rejects(crypto.subtle.exportKey(form, key));
  }
  assert.deepEqual(secrets.profile.usages.sort(), ['decrypt', 'encrypt']);
});

test('rule 4: the call id commits to who may join and who is host', async () => {
  const { host } = await newLink(crypto, ORIGIN);
  const secrets = await openLink(crypto, host);
  assert.equal(secrets.call.length, 16);
  assert.deepEqual(await callId(crypto, secrets.admission, secrets.host), secrets.call);
  const otherHost = secrets.host.map(byte => byte ^ 1);
  assert.notDeepEqual(await callId(crypto, secrets.admission, otherHost), secrets.call);
});

test('rule 4: an admission holds for one nonce, one host name and one identity', async () => {
  const { invite } = await newLink(crypto, ORIGIN);
  const secrets = await openLink(crypto, invite);
  const nonce = new Uint8Array(32).fill(1);
  const identity = new Uint8Array(32).fill(2);
  const signature = await signJoin(crypto, secrets, nonce, 'sotto.example', identity);
  const statement = (name, ...rest) => join('sotto/1 join', new Uint8Array(1), secrets.call, rest[0], name, rest[1]);
  const holds = message => verifyEd25519(crypto, secrets.admission, signature, message);
  assert.equal(await holds(statement('sotto.example', nonce, identity)), true);
  assert.equal(await holds(statement('evil.example', nonce, identity)), false);
  assert.equal(await holds(statement('sotto.example', nonce.map(byte => byte + 1), identity)), false);
  assert.equal(await holds(statement('sotto.example', nonce, identity.map(byte => byte + 1))), false);
});
