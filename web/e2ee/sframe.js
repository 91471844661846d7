// SFrame (RFC 9605) with the suite AES_128_GCM_SHA256_128: header, key derivation, protection and replay window.

import { concat, u64, utf8 } from './bytes.js';
import { hkdf, hkdfAes128 } from './derive.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * A key for one KID (section 4.4.2).
 * @typedef {object} SframeKey
 * @property {CryptoKey} key
 * @property {Bytes} salt 12 bytes
 */

/**
 * @typedef {object} Header
 * @property {bigint} kid
 * @property {bigint} counter
 * @property {number} length bytes of the header
 */

/**
 * @param {Crypto} crypto
 * @param {CryptoKey} base the base key as HKDF input
 * @param {bigint} kid
 * @param {'encrypt' | 'decrypt'} usage
 * @returns {Promise<SframeKey>}
 */
export async function deriveSframeKey(crypto, base, kid, usage) {
  const suffix = concat(u64(kid), SUITE);
  const [key, salt] = await Promise.all([
    hkdfAes128(crypto, base, concat(KEY_LABEL, suffix), NO_SALT, usage),
    hkdf(crypto, base, concat(SALT_LABEL, suffix), NONCE, NO_SALT),
  ]);
  return { key, salt };
}

/**
 * @param {bigint} kid below 2^64
 * @param {bigint} counter below 2^64
 * @returns {Bytes} 1 to 17 bytes (section 4.3)
 */
export function encodeHeader(kid, counter) {
  const kidBytes = kid < INLINE ? 0 : byteLength(kid);
  const counterBytes = counter < INLINE ? 0 : byteLength(counter);
  const header = new Uint8Array(1 + kidBytes + counterBytes);
  header[0] = (kidBytes ? 0x80 | ((kidBytes - 1) << 4) : Number(kid) << 4)
    | (counterBytes ? 0x08 | (counterBytes - 1) : Number(counter));
  write(header, 1, kidBytes, kid);
  write(header, 1 + kidBytes, counterBytes, counter);
  return header;
}

/**
 * @param {Bytes} bytes
 * @param {number} [start]
 * @returns {Header | null} `null` where it is cut short or not in its shortest form
 */
export function decodeHeader(bytes, start = 0) {
  if (start >= bytes.length) return null;
  const config = bytes[start];
  const kidBytes = config & 0x80 ? ((config >> 4) & 7) + 1 : 0;
  const counterBytes = config & 0x08 ? (config & 7) + 1 : 0;
  const length = 1 + kidBytes + counterBytes;
  if (start + length > bytes.length) return null;
  const kid = kidBytes ? read(bytes, start + 1, kidBytes) : BigInt((config >> 4) & 7);
  const counter = counterBytes ? read(bytes, start + 1 + kidBytes, counterBytes) : BigInt(config & 7);
  if (kidBytes && (kid < INLINE || byteLength(kid) !== kidBytes)) return null;
  if (counterBytes && (counter < INLINE || byteLength(counter) !== counterBytes)) return null;
  return { kid, counter, length };
}

/**
 * Protects one frame.
 * @param {Crypto} crypto
 * @param {SframeKey} key
 * @param {Bytes} header
 * @param {bigint} counter the header's
 * @param {Bytes} metadata authenticated, not carried
 * @param {Bytes} plaintext
 * @returns {Promise<Bytes>} ciphertext and tag, without the header
 */
export async function protect(crypto, key, header, counter, metadata, plaintext) {
  const algorithm = gcm(key.salt, counter, concat(header, metadata));
  return new Uint8Array(await crypto.subtle.encrypt(algorithm, key.key, plaintext));
}

/**
 * Opens one frame.
 * @param {Crypto} crypto
 * @param {SframeKey} key
 * @param {Bytes} header as it came
 * @param {bigint} counter the header's
 * @param {Bytes} metadata
 * @param {Bytes} ciphertext with its tag
 * @returns {Promise<Bytes | null>} `null` where it does not authenticate
 */
export async function unprotect(crypto, key, header, counter, metadata, ciphertext) {
  if (ciphertext.length < TAG) return null;
  try {
    const algorithm = gcm(key.salt, counter, concat(header, metadata));
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, key.key, ciphertext));
  } catch {
    return null;
  }
}

/** Which counters of one KID were seen (section 9.3): the highest, and those of the 1,024 before it. */
export class ReplayWindow {
  constructor() {
    this.highest = -1n;
    this.bits = new Uint32Array(WINDOW / 32);
  }

  /**
   * Whether a counter could still be new. Says nothing about its frame, so it changes nothing.
   * @param {bigint} counter
   * @returns {boolean}
   */
  fresh(counter) {
    if (counter > this.highest) return true;
    if (this.highest - counter >= BigInt(WINDOW)) return false;
    const at = Number(counter % BigInt(WINDOW));
    return (this.bits[at >> 5] & (1 << (at & 31))) === 0;
  }

  /**
   * Records the counter of a frame that authenticated.
   * @param {bigint} counter
   * @returns {boolean} false where another frame with it came first
   */
  accept(counter) {
    if (!this.fresh(counter)) return false;
    if (counter - this.highest >= BigInt(WINDOW)) {
      this.bits.fill(0);
      this.highest = counter;
    }
    while (this.highest < counter) {
      this.highest += 1n;
      this.#set(this.highest, false);
    }
    this.#set(counter, true);
    return true;
  }

  /**
   * @param {bigint} counter
   * @param {boolean} seen
   */
  #set(counter, seen) {
    const at = Number(counter % BigInt(WINDOW));
    if (seen) this.bits[at >> 5] |= 1 << (at & 31);
    else this.bits[at >> 5] &= ~(1 << (at & 31));
  }
}

/**
 * @param {Bytes} salt
 * @param {bigint} counter
 * @param {Bytes} additionalData
 */
function gcm(salt, counter, additionalData) {
  const iv = salt.slice();
  const view = new DataView(iv.buffer);
  view.setBigUint64(NONCE - 8, view.getBigUint64(NONCE - 8) ^ counter);
  return { name: 'AES-GCM', iv, additionalData, tagLength: TAG * 8 };
}

/** @param {bigint} value */
function byteLength(value) {
  let length = 1;
  while (length < 8 && value >> BigInt(8 * length)) length++;
  return length;
}

/**
 * @param {Bytes} bytes
 * @param {number} start
 * @param {number} length
 */
function read(bytes, start, length) {
  let value = 0n;
  for (let at = start; at < start + length; at++) value = (value << 8n) | BigInt(bytes[at]);
  return value;
}

/**
 * @param {Bytes} bytes
 * @param {number} start
 * @param {number} length
 * @param {bigint} value
 */
function write(bytes, start, length, value) {
  for (let at = start + length - 1; at >= start; at--) {
    bytes[at] = Number(value & 0xffn);
    value >>= 8n;
  }
}

/** Values below this stand in the header's first byte. */
const INLINE = 8n;

/** Bytes of the suite's nonce. */
const NONCE = 12;

/** Bytes of the suite's tag. */
const TAG = 16;

/** Counters that the replay window spans: 1,024 frames are 10 s of three 30 Hz layers. */
const WINDOW = 1024;

/** AES_128_GCM_SHA256_128 (section 8.1). */
const SUITE = Uint8Array.of(0, 4);

const KEY_LABEL = utf8('SFrame 1.0 Secret key ');
const SALT_LABEL = utf8('SFrame 1.0 Secret salt ');
const NO_SALT = new Uint8Array(0);
