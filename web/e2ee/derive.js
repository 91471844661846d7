// Key derivation of the protocol: HKDF-SHA256 (RFC 5869) with the salt `sotto/1`, and Ed25519 keys from a seed.

import { concat, fromBase64Url, utf8 } from './bytes.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * @param {Crypto} crypto
 * @param {Bytes} secret
 * @returns {Promise<CryptoKey>} the secret as HKDF input that cannot be read back
 */
export function hkdfKey(crypto, secret) {
  return crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits', 'deriveKey']);
}

/**
 * @param {Crypto} crypto
 * @param {CryptoKey} key from `hkdfKey`
 * @param {string | Bytes} info
 * @param {number} length bytes wanted
 * @param {Bytes} [salt]
 * @returns {Promise<Bytes>}
 */
export async function hkdf(crypto, key, info, length, salt = SALT) {
  return new Uint8Array(await crypto.subtle.deriveBits(parameters(info, salt), key, length * 8));
}

/**
 * @param {Crypto} crypto
 * @param {CryptoKey} key from `hkdfKey`
 * @param {string | Bytes} info
 * @param {Bytes} salt
 * @param {'encrypt' | 'decrypt'} usage
 * @returns {Promise<CryptoKey>} an AES-128-GCM key that cannot be read back
 */
export function hkdfAes128(crypto, key, info, salt, usage) {
  return crypto.subtle.deriveKey(parameters(info, salt), key, { name: 'AES-GCM', length: 128 }, false, [usage]);
}

/** @typedef {{privateKey: CryptoKey, publicKey: Bytes}} KeyPair */

/**
 * A fresh key pair, whose private half cannot be read back.
 * @param {Crypto} crypto
 * @param {'Ed25519' | 'X25519'} algorithm
 * @returns {Promise<KeyPair>}
 */
export async function newKeyPair(crypto, algorithm) {
  /** @type {KeyUsage[]} */ const usages = algorithm === 'Ed25519' ? ['sign', 'verify'] : ['deriveBits'];
  const pair = /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey(algorithm, false, usages));
  const publicKey = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
  return { privateKey: pair.privateKey, publicKey };
}

/**
 * An Ed25519 key pair (RFC 8032) from its 32-byte seed; the private half cannot be read back.
 * @param {Crypto} crypto
 * @param {Bytes} seed erased here
 * @returns {Promise<KeyPair>}
 */
export async function ed25519FromSeed(crypto, seed) {
  const pkcs8 = concat(ED25519_PKCS8, seed);
  const readable = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', true, ['sign']);
  const { x } = await crypto.subtle.exportKey('jwk', readable);
  const privateKey = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign']);
  pkcs8.fill(0);
  seed.fill(0);
  return { privateKey, publicKey: /** @type {Bytes} */ (fromBase64Url(x, 32)) };
}

/**
 * @param {Crypto} crypto
 * @param {Bytes} publicKey
 * @param {Bytes} signature
 * @param {Bytes} message
 * @returns {Promise<boolean>} false also for a key that is none
 */
export async function verifyEd25519(crypto, publicKey, signature, message) {
  try {
    const key = await crypto.subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify']);
    return await crypto.subtle.verify('Ed25519', key, signature, message);
  } catch {
    return false;
  }
}

/**
 * @param {Crypto} crypto
 * @param {Bytes} message
 * @returns {Promise<Bytes>}
 */
export async function sha256(crypto, message) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', message));
}

/**
 * @param {string | Bytes} info
 * @param {Bytes} salt
 */
function parameters(info, salt) {
  return { name: 'HKDF', hash: 'SHA-256', salt, info: typeof info === 'string' ? utf8(info) : info };
}

const SALT = utf8('sotto/1');

/** PrivateKeyInfo of RFC 8410 up to the seed. */
const ED25519_PKCS8 = Uint8Array.of(
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
);
