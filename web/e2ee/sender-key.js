// Our own sender key: base keys by generation and step, and the counters of each stream.

import { concat } from './bytes.js';
import { hkdf, hkdfKey } from './derive.js';
import { clearBytes, metadata } from './frame.js';
import { deriveSframeKey, encodeHeader, protect } from './sframe.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./sframe.js').SframeKey} SframeKey */
/** @typedef {import('./frame.js').FrameCodec} FrameCodec */

/**
 * @typedef {object} BaseKey
 * @property {number} generation
 * @property {number} step
 * @property {Bytes} base kept readable, since newcomers must be sent it
 * @property {Map<number, StreamKey>} streams
 */

/**
 * @typedef {object} StreamKey
 * @property {bigint} kid
 * @property {bigint} counter the next
 * @property {Promise<SframeKey>} key
 */

/** A generation has steps 0 to 8: a newcomer costs one key message, and no base key is ratcheted for long. */
export const LAST_STEP = 8;

/**
 * The identifier of a key: generation (32 bits), step (8), stream (8).
 * @param {number} generation
 * @param {number} step
 * @param {number} stream
 * @returns {bigint}
 */
export function keyId(generation, step, stream) {
  return (BigInt(generation) << 16n) | BigInt((step << 8) | stream);
}

/**
 * The base key of the next step.
 * @param {Crypto} crypto
 * @param {CryptoKey} base as HKDF input
 * @returns {Promise<Bytes>}
 */
export function ratchet(crypto, base) {
  return hkdf(crypto, base, 'ratchet', BASE_KEY);
}

/** What we encrypt with now, and what comes next. */
export class SenderKeys {
  #crypto;
  #prefix;
  #nextGeneration = 0;

  /**
   * @param {Crypto} crypto
   * @param {Bytes} prefix our frames' metadata prefix
   */
  constructor(crypto, prefix) {
    this.#crypto = crypto;
    this.#prefix = prefix;
    /** @type {BaseKey | null} */
    this.current = null;
    /** @type {BaseKey | null} */
    this.pending = null;
  }

  /**
   * The key in use; the first is made when the first frame or message wants one.
   * @returns {BaseKey}
   */
  ensure() {
    this.current ??= this.#fresh();
    return this.current;
  }

  /**
   * Makes the generation that is to be used next.
   * @returns {BaseKey}
   */
  prepare() {
    this.discard();
    this.pending = this.#fresh();
    return this.pending;
  }

  /** Forgets the generation that was to be used next. */
  discard() {
    this.pending?.base.fill(0);
    this.pending = null;
  }

  /** Uses the prepared generation from now on. */
  switch() {
    if (!this.pending) return;
    this.current?.base.fill(0);
    this.current = this.pending;
    this.pending = null;
  }

  /**
   * Takes one step within the generation: whoever has the key can follow, nobody can go back.
   * @returns {Promise<BaseKey>}
   */
  async step() {
    const before = this.ensure();
    const base = await ratchet(this.#crypto, await hkdfKey(this.#crypto, before.base));
    before.base.fill(0);
    this.current = { generation: before.generation, step: before.step + 1, base, streams: new Map() };
    return this.current;
  }

  /** Starts over with a generation that nobody has, as after a reconnection. */
  restart() {
    this.discard();
    if (!this.current) return;
    this.current.base.fill(0);
    this.current = this.#fresh();
  }

  /** Forgets everything. */
  erase() {
    this.discard();
    this.current?.base.fill(0);
    this.current = null;
  }

  /**
   * Takes a counter for one frame, before anything is awaited, so that none is taken twice.
   * @param {number} stream
   * @returns {{kid: bigint, counter: bigint, key: Promise<SframeKey>}}
   */
  take(stream) {
    const current = this.ensure();
    let entry = current.streams.get(stream);
    if (!entry) {
      const kid = keyId(current.generation, current.step, stream);
      entry = { kid, counter: 0n, key: this.#derive(current.base, kid) };
      current.streams.set(stream, entry);
    }
    return { kid: entry.kid, counter: entry.counter++, key: entry.key };
  }

  /**
   * Protects a frame of one stream.
   * @param {number} stream
   * @param {FrameCodec} codec
   * @param {Bytes} frame
   * @returns {Promise<Bytes | null>} clear bytes, SFrame header, ciphertext, tag; `null` where it must not be sent
   */
  async protectFrame(stream, codec, frame) {
    const clear = clearBytes(codec, frame);
    if (clear === null) return null;
    const { kid, counter, key } = this.take(stream);
    return this.seal(kid, counter, key, frame.subarray(0, clear), frame.subarray(clear));
  }

  /**
   * @param {bigint} kid
   * @param {bigint} counter
   * @param {Promise<SframeKey>} key
   * @param {Bytes} clear
   * @param {Bytes} plaintext
   * @returns {Promise<Bytes>}
   */
  async seal(kid, counter, key, clear, plaintext) {
    const header = encodeHeader(kid, counter);
    const authenticated = metadata(this.#prefix, clear);
    return concat(clear, header, await protect(this.#crypto, await key, header, counter, authenticated, plaintext));
  }

  /** @returns {BaseKey} */
  #fresh() {
    const base = this.#crypto.getRandomValues(new Uint8Array(BASE_KEY));
    return { generation: this.#nextGeneration++, step: 0, base, streams: new Map() };
  }

  /**
   * @param {Bytes} base
   * @param {bigint} kid
   * @returns {Promise<SframeKey>}
   */
  #derive(base, kid) {
    const copy = base.slice();
    const key = hkdfKey(this.#crypto, copy).then(input => deriveSframeKey(this.#crypto, input, kid, 'encrypt'));
    return key.finally(() => copy.fill(0));
  }
}

/** Bytes of a base key. */
export const BASE_KEY = 32;
