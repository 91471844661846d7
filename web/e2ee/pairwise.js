// The keys between two participants, one per direction: X25519 (RFC 7748) with the link's secret mixed in.

import { covered, join, u64 } from './bytes.js';
import { hkdfAes128, hkdfKey } from './derive.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * @typedef {object} Side
 * @property {Bytes} call
 * @property {Bytes} psk
 * @property {Bytes} ours our identity
 * @property {Bytes} theirs their identity
 */

/**
 * Agrees with a peer.
 * @param {Crypto} crypto
 * @param {Side} side
 * @param {CryptoKey} privateKey our X25519 key of this connection
 * @param {Bytes} publicKey theirs
 * @returns {Promise<Pair | null>} `null` where the result is all zero, or theirs is no key
 */
export async function agree(crypto, side, privateKey, publicKey) {
  const shared = await exchange(crypto, privateKey, publicKey);
  if (!shared) return null;
  const root = await hkdfKey(crypto, shared);
  shared.fill(0);
  const [sending, receiving] = await Promise.all([
    hkdfAes128(crypto, root, join('sotto/1 pair', side.ours, side.theirs), side.psk, 'encrypt'),
    hkdfAes128(crypto, root, join('sotto/1 pair', side.theirs, side.ours), side.psk, 'decrypt'),
  ]);
  return new Pair(crypto, side, sending, receiving);
}

/** Both directions between us and one peer, for one connection of each. */
export class Pair {
  #crypto;
  #side;
  #sending;
  #receiving;
  #sent = 0;
  #received = 0;

  /**
   * @param {Crypto} crypto
   * @param {Side} side
   * @param {CryptoKey} sending
   * @param {CryptoKey} receiving
   */
  constructor(crypto, side, sending, receiving) {
    this.#crypto = crypto;
    this.#side = side;
    this.#sending = sending;
    this.#receiving = receiving;
  }

  /**
   * Seals a message. What is sealed first must be sent first.
   * @param {string} type
   * @param {Bytes} body
   * @returns {Promise<{counter: number, box: Bytes}>}
   */
  async seal(type, body) {
    const counter = this.#sent++;
    const { call, ours, theirs } = this.#side;
    const algorithm = gcm(type, call, ours, theirs, counter);
    return { counter, box: new Uint8Array(await this.#crypto.subtle.encrypt(algorithm, this.#sending, body)) };
  }

  /**
   * Opens the next message; one that is not the next, or not theirs, changes nothing.
   * @param {string} type
   * @param {number} counter
   * @param {Bytes} box
   * @returns {Promise<Bytes | null>}
   */
  async open(type, counter, box) {
    if (counter !== this.#received) return null;
    const { call, ours, theirs } = this.#side;
    try {
      const algorithm = gcm(type, call, theirs, ours, counter);
      const body = new Uint8Array(await this.#crypto.subtle.decrypt(algorithm, this.#receiving, box));
      if (counter !== this.#received) return null;
      this.#received++;
      return body;
    } catch {
      return null;
    }
  }
}

/**
 * @param {Crypto} crypto
 * @param {CryptoKey} privateKey
 * @param {Bytes} publicKey
 * @returns {Promise<Bytes | null>}
 */
async function exchange(crypto, privateKey, publicKey) {
  try {
    const theirs = await crypto.subtle.importKey('raw', publicKey, 'X25519', false, []);
    const bits = await crypto.subtle.deriveBits({ name: 'X25519', public: theirs }, privateKey, 256);
    const shared = new Uint8Array(bits);
    return shared.some(byte => byte !== 0) ? shared : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} type
 * @param {Bytes} call
 * @param {Bytes} sender
 * @param {Bytes} receiver
 * @param {number} counter
 */
function gcm(type, call, sender, receiver, counter) {
  const iv = new Uint8Array(12);
  iv.set(u64(counter), 4);
  return { name: 'AES-GCM', iv, additionalData: covered(type, call, sender, receiver, u64(counter)) };
}
