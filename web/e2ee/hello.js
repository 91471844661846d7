// The hello with which a connection introduces itself to the others: identity, key, name, proof of the link.

import { concat, covered, fromBase64Url, text, toBase64Url, u64, utf8 } from './bytes.js';
import { verifyEd25519 } from './derive.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./link.js').CallSecrets} CallSecrets */

/**
 * @typedef {object} Hello
 * @property {Bytes} identity I, Ed25519
 * @property {Bytes} key D, X25519
 * @property {number} seq
 * @property {string} participant
 * @property {string} name
 */

/** @typedef {'hello' | 'knock'} Kind a knock is a hello of who waits outside; neither passes for the other */

/**
 * @param {Crypto} crypto
 * @param {CallSecrets} secrets
 * @param {CryptoKey} signingKey private half of the identity
 * @param {Hello} hello
 * @param {Kind} [kind]
 * @returns {Promise<Record<string, unknown>>} the message's fields
 */
export async function writeHello(crypto, secrets, signingKey, hello, kind = 'hello') {
  const name = await sealName(crypto, secrets.profile, hello.identity, hello.name);
  const fields = [hello.identity, hello.key, u64(hello.seq), hello.participant, name];
  const signed = covered(kind, secrets.call, ...fields);
  const signature = new Uint8Array(await crypto.subtle.sign('Ed25519', signingKey, signed));
  const mac = await crypto.subtle.sign('HMAC', secrets.mac, covered(kind, secrets.call, ...fields, signature));
  return {
    identity: toBase64Url(hello.identity),
    key: toBase64Url(hello.key),
    seq: hello.seq,
    participant: hello.participant,
    name: toBase64Url(name),
    signature: toBase64Url(signature),
    mac: toBase64Url(new Uint8Array(mac)),
  };
}

/**
 * @param {Crypto} crypto
 * @param {CallSecrets} secrets
 * @param {Record<string, unknown>} message
 * @param {Kind} [kind]
 * @returns {Promise<Hello | null>} `null` unless it is whole, authenticated under the link and signed
 */
export async function readHello(crypto, secrets, message, kind = 'hello') {
  const identity = fromBase64Url(message.identity, 32);
  const key = fromBase64Url(message.key, 32);
  const name = fromBase64Url(message.name);
  const signature = fromBase64Url(message.signature, 64);
  const mac = fromBase64Url(message.mac, 32);
  const { seq, participant } = message;
  if (!identity || !key || !name || !signature || !mac || name.length > MAX_SEALED_NAME) return null;
  if (typeof participant !== 'string' || typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 0) return null;
  const fields = [identity, key, u64(seq), participant, name];
  const authenticated = covered(kind, secrets.call, ...fields, signature);
  if (!(await crypto.subtle.verify('HMAC', secrets.mac, mac, authenticated))) return null;
  if (!(await verifyEd25519(crypto, identity, signature, covered(kind, secrets.call, ...fields)))) return null;
  const clearName = await openName(crypto, secrets.profile, identity, name);
  return clearName === null ? null : { identity, key, seq, participant, name: clearName };
}

/**
 * A name as others will see it: without control characters, at most 96 bytes.
 * @param {string} name
 * @returns {string}
 */
export function tidyName(name) {
  let tidy = '';
  let room = MAX_NAME;
  for (const character of name.normalize('NFC').replace(UNPRINTABLE, ' ').replace(/\s+/g, ' ').trim()) {
    room -= utf8(character).length;
    if (room < 0) break;
    tidy += character;
  }
  return tidy.trim();
}

/**
 * @param {Crypto} crypto
 * @param {CryptoKey} profile
 * @param {Bytes} identity
 * @param {string} name
 * @returns {Promise<Bytes>} nonce, ciphertext, tag
 */
async function sealName(crypto, profile, identity, name) {
  const iv = crypto.getRandomValues(new Uint8Array(NONCE));
  const algorithm = { name: 'AES-GCM', iv, additionalData: identity };
  return concat(iv, new Uint8Array(await crypto.subtle.encrypt(algorithm, profile, utf8(tidyName(name)))));
}

/**
 * @param {Crypto} crypto
 * @param {CryptoKey} profile
 * @param {Bytes} identity
 * @param {Bytes} sealed
 * @returns {Promise<string | null>}
 */
async function openName(crypto, profile, identity, sealed) {
  const algorithm = { name: 'AES-GCM', iv: sealed.slice(0, NONCE), additionalData: identity };
  try {
    const name = text(new Uint8Array(await crypto.subtle.decrypt(algorithm, profile, sealed.slice(NONCE))));
    return name === null ? null : tidyName(name);
  } catch {
    return null;
  }
}

const NONCE = 12;

/** Bytes of a name: long enough for any, short enough that a hello stays small. */
const MAX_NAME = 96;

/** Nonce, name and tag. */
const MAX_SEALED_NAME = NONCE + MAX_NAME + 16;

/** Control, format (so also direction overrides), line and paragraph separators: a name must not rewrite the page. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
