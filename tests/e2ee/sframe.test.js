import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'node:test';
import { hkdfKey } from '../../web/e2ee/derive.js';
import { metadata, metadataPrefix } from '../../web/e2ee/frame.js';
import { ReceiverKeys } from '../../web/e2ee/receiver-key.js';
import { keyId, ratchet } from '../../web/e2ee/sender-key.js';
import {
  ReplayWindow, decodeHeader, deriveSframeKey, encodeHeader, protect, unprotect,
} from '../../web/e2ee/sframe.js';
import { crypto } from './world.js';

const read = name => JSON.parse(readFileSync(new URL(`vectors/${name}`, import.meta.url), 'utf8'));
const bytes = hex => Uint8Array.from(hex.match(/../g) ?? [], pair => parseInt(pair, 16));
const hex = array => Buffer.from(array).toString('hex');

const rfc = read('rfc9605.json');

test('rule 17: headers are written and read as RFC 9605 has them', () => {
  assert.ok(rfc.headers.length > 200);
  for (const [kid, counter, encoded] of rfc.headers) {
    assert.equal(hex(encodeHeader(BigInt(`0x${kid}`), BigInt(`0x${counter}`))), encoded);
    const header = decodeHeader(bytes(encoded));
    assert.deepEqual([header.kid.toString(16), header.counter.toString(16)], [kid, counter]);
    assert.equal(header.length, encoded.length / 2);
  }
});

test('rule 17: a header that is cut short or longer than it need be is none', () => {
  for (const [, , encoded] of rfc.headers) {
    assert.equal(decodeHeader(bytes(encoded).subarray(0, -1)), null);
  }
  for (const padded of ['8000', '8007', '0803', '900001', '090001', 'f00000000000000001']) {
    assert.equal(decodeHeader(bytes(padded)), null, padded);
  }
});

test('rule 17: frames are protected and opened as RFC 9605 has them for AES_128_GCM_SHA256_128', async () => {
  const { kid, ctr, base_key, sframe_salt, metadata: authenticated, pt, ct } = rfc.frame;
  const base = await hkdfKey(crypto, bytes(base_key));
  const header = encodeHeader(BigInt(kid), BigInt(ctr));
  const sealing = await deriveSframeKey(crypto, base, BigInt(kid), 'encrypt');
  assert.equal(hex(sealing.salt), sframe_salt);
  const sealed = await protect(crypto, sealing, header, BigInt(ctr), bytes(authenticated), bytes(pt));
  assert.equal(hex(header) + hex(sealed), ct);
  const opening = await deriveSframeKey(crypto, base, BigInt(kid), 'decrypt');
  const opened = await unprotect(crypto, opening, header, BigInt(ctr), bytes(authenticated), sealed);
  assert.equal(hex(opened), pt);
  sealed[3] ^= 1;
  assert.equal(await unprotect(crypto, opening, header, BigInt(ctr), bytes(authenticated), sealed), null);
});

test('rule 18: what the sframe crate protects opens here, byte for byte as it would be protected here', async () => {
  const vectors = read('rust.json');
  assert.equal(vectors.length, 6);
  for (const vector of vectors) {
    assert.equal((await protectVector(vector)).frame, vector.frame);
    const keys = new ReceiverKeys(crypto, metadataPrefix(bytes(vector.call), bytes(vector.identity)), () => undefined);
    assert.ok(await keys.learn(vector.generation, 0, bytes(vector.base)));
    const opened = await keys.open(vector.stream, bytes(vector.frame), vector.clear.length / 2);
    assert.equal(hex(opened.plaintext), vector.plaintext);
  }
});

test('rule 18: what is protected here is what the sframe crate was shown to open', async () => {
  const written = `${JSON.stringify(await Promise.all(CASES.map(protectVector)), null, 2)}\n`;
  const path = new URL('vectors/javascript.json', import.meta.url);
  if (process.env.WRITE_VECTORS) writeFileSync(path, written);
  assert.equal(readFileSync(path, 'utf8'), written);
});

test('rule 17: the replay window takes each of the last 1,024 counters once, in any order', () => {
  const window = new ReplayWindow();
  for (const counter of [5n, 3n, 4n, 1000n, 1023n]) {
    assert.ok(window.fresh(counter) && window.accept(counter), `${counter}`);
    assert.ok(!window.fresh(counter) && !window.accept(counter), `${counter} again`);
  }
  assert.ok(window.accept(0n), 'the oldest still in the window');
  assert.ok(window.accept(1024n));
  assert.ok(!window.fresh(0n), 'fallen out of the window');
  assert.ok(window.accept(1n) && !window.accept(1n));
  assert.ok(window.accept(10_000_000n), 'a jump clears what was seen');
  assert.ok(window.accept(10_000_000n - 1023n) && !window.fresh(10_000_000n - 1024n));
  assert.ok(!window.accept(10_000_000n - 1023n));
});

test('rule 17: the replay window agrees with a plain set on random counters', () => {
  const window = new ReplayWindow();
  const seen = new Set();
  let highest = 0;
  let seed = 7;
  for (let round = 0; round < 20_000; round++) {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    const counter = Math.max(0, highest + (seed % 1_500) - 1_200);
    const expected = !seen.has(counter) && (seen.size === 0 || highest - counter < 1024);
    assert.equal(window.accept(BigInt(counter)), expected, `round ${round}, counter ${counter}`);
    if (expected) seen.add(counter);
    highest = Math.max(highest, ...(expected ? [counter] : []));
  }
});

async function protectVector({ frame: _, ...vector }) {
  let base = await hkdfKey(crypto, bytes(vector.base));
  for (let step = 0; step < vector.step; step++) base = await hkdfKey(crypto, await ratchet(crypto, base));
  const kid = keyId(vector.generation, vector.step, vector.stream);
  const header = encodeHeader(kid, BigInt(vector.counter));
  const key = await deriveSframeKey(crypto, base, kid, 'encrypt');
  const authenticated = metadata(metadataPrefix(bytes(vector.call), bytes(vector.identity)), bytes(vector.clear));
  const sealed = await protect(crypto, key, header, BigInt(vector.counter), authenticated, bytes(vector.plaintext));
  return { ...vector, frame: vector.clear + hex(header) + hex(sealed) };
}

const common = { base: '07'.repeat(32), call: '0123456789abcdef0123456789abcdef', identity: 'e1'.repeat(32) };

const CASES = [
  { ...common, generation: 0, step: 0, stream: 0, counter: 0, clear: '', plaintext: '' },
  { ...common, generation: 0, step: 1, stream: 1, counter: 9, clear: '500100009d012a8002', plaintext: 'aa'.repeat(900) },
  { ...common, generation: 2, step: 8, stream: 1, counter: 300, clear: '510100', plaintext: '00' },
  { ...common, generation: 65_535, step: 2, stream: 2, counter: 70_000, clear: '', plaintext: '86'.repeat(33) },
  { ...common, generation: 4_294_967_295, step: 8, stream: 255, counter: 2 ** 33, clear: '', plaintext: '7b7d' },
  { ...common, generation: 12, step: 0, stream: 3, counter: 7, clear: '', plaintext: 'fc' },
];
