// The keys of one other sender: generations that it sent us, steps that its frames show, and what was seen under each.

import { compare } from './bytes.js';
import { hkdfKey, sha256 } from './derive.js';
import { metadata } from './frame.js';
import { LAST_STEP, keyId, ratchet } from './sender-key.js';
import { ReplayWindow, decodeHeader, deriveSframeKey, unprotect } from './sframe.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./sframe.js').SframeKey} SframeKey */

/**
 * @typedef {object} Base
 * @property {CryptoKey} key
 * @property {Bytes} digest tells whether another key is the same, since this one cannot be read
 */

/**
 * @typedef {object} Generation
 * @property {number} first the lowest step that we hold
 * @property {number} shown the highest step that an authenticated frame showed; -1 before the first
 * @property {Map<number, Promise<Base>>} bases by step
 * @property {Map<number, {key: Promise<SframeKey>, window: ReplayWindow}>} streams by step and stream
 */

/** @typedef {'malformed' | 'stream' | 'key' | 'replay' | 'forged'} Refusal */

/**
 * @typedef {object} Opened
 * @property {Bytes} plaintext
 * @property {bigint} kid
 * @property {bigint} counter
 */

export class ReceiverKeys {
  #crypto;
  #prefix;
  #after;
  /** @type {Map<number, Generation>} */
  #generations = new Map();
  #inUse = -1;
  #floor = 0;

  /**
   * @param {Crypto} crypto
   * @param {Bytes} prefix the sender's metadata prefix
   * @param {(milliseconds: number, task: () => void) => unknown} after
   */
  constructor(crypto, prefix, after) {
    this.#crypto = crypto;
    this.#prefix = prefix;
    this.#after = after;
  }

  /** Whether there is anything to open frames with. */
  get empty() {
    return this.#generations.size === 0;
  }

  /**
   * Takes a base key that the sender sent us.
   * @param {number} generation
   * @param {number} step
   * @param {Bytes} base erased here
   * @returns {Promise<boolean>} false where it is older than what we have, or would change what is known
   */
  async learn(generation, step, base) {
    const digest = await sha256(this.#crypto, base);
    const key = await hkdfKey(this.#crypto, base);
    base.fill(0);
    const newest = Math.max(-1, ...this.#generations.keys());
    if (generation < newest || generation < this.#floor) return false;
    const known = this.#generations.get(generation);
    if (known) return this.#agrees(known, step, digest);
    const bases = new Map([[step, Promise.resolve({ key, digest })]]);
    this.#generations.set(generation, { first: step, shown: -1, bases, streams: new Map() });
    this.#trim();
    return true;
  }

  /**
   * Opens a frame.
   * @param {number} stream that it must belong to
   * @param {Bytes} frame clear bytes, SFrame header, ciphertext, tag
   * @param {number} clear how many bytes are clear
   * @returns {Promise<Opened | Refusal>}
   */
  async open(stream, frame, clear) {
    const header = decodeHeader(frame, clear);
    if (!header || header.kid >> 48n) return 'malformed';
    if (Number(header.kid & 0xffn) !== stream) return 'stream';
    const number = Number(header.kid >> 16n);
    const step = Number((header.kid >> 8n) & 0xffn);
    const generation = this.#generations.get(number);
    if (!generation || step < generation.first || step > LAST_STEP) return 'key';
    const entry = this.#entry(number, generation, step, stream);
    if (!entry.window.fresh(header.counter)) return 'replay';
    const start = clear + header.length;
    const plaintext = await unprotect(
      this.#crypto, await entry.key, frame.slice(clear, start), header.counter,
      metadata(this.#prefix, frame.subarray(0, clear)), frame.subarray(start),
    );
    if (!plaintext) return 'forged';
    if (!entry.window.accept(header.counter)) return 'replay';
    this.#authenticated(number, generation, step);
    return { plaintext, kid: header.kid, counter: header.counter };
  }

  /** Forgets everything. */
  erase() {
    this.#generations.clear();
  }

  /**
   * @param {Generation} generation
   * @param {number} step
   * @param {Bytes} digest
   * @returns {Promise<boolean>}
   */
  async #agrees(generation, step, digest) {
    if (step < generation.first) return false;
    const held = await this.#base(generation, step);
    return compare(held.digest, digest) === 0;
  }

  /**
   * The base key of a step that is not below the lowest held.
   * @param {Generation} generation
   * @param {number} step
   * @returns {Promise<Base>}
   */
  #base(generation, step) {
    let held = generation.bases.get(step);
    if (!held) {
      held = this.#base(generation, step - 1).then(before => this.#next(before));
      generation.bases.set(step, held);
    }
    return held;
  }

  /**
   * @param {Base} before
   * @returns {Promise<Base>}
   */
  async #next(before) {
    const raw = await ratchet(this.#crypto, before.key);
    const base = { digest: await sha256(this.#crypto, raw), key: await hkdfKey(this.#crypto, raw) };
    raw.fill(0);
    return base;
  }

  /**
   * @param {number} number
   * @param {Generation} generation
   * @param {number} step
   * @param {number} stream
   */
  #entry(number, generation, step, stream) {
    const place = (step << 8) | stream;
    let entry = generation.streams.get(place);
    if (!entry) {
      const base = this.#base(generation, step);
      const key = base.then(held => deriveSframeKey(this.#crypto, held.key, keyId(number, step, stream), 'decrypt'));
      entry = { key, window: new ReplayWindow() };
      generation.streams.set(place, entry);
    }
    return entry;
  }

  /**
   * Only an authenticated frame moves anything on.
   * @param {number} number
   * @param {Generation} generation
   * @param {number} step
   */
  #authenticated(number, generation, step) {
    if (step > generation.shown) {
      generation.shown = step;
      if (step > generation.first) this.#after(LINGER, () => forgetSteps(generation, step));
    }
    if (number > this.#inUse) {
      this.#inUse = number;
      this.#after(LINGER, () => this.#forgetGenerations(number));
    }
  }

  /** @param {number} before */
  #forgetGenerations(before) {
    this.#floor = Math.max(this.#floor, before);
    for (const number of this.#generations.keys()) {
      if (number < before) this.#generations.delete(number);
    }
  }

  /** Keeps the generation in use and the newest others, however many a sender prepares. */
  #trim() {
    const others = [...this.#generations.keys()].filter(number => number !== this.#inUse).sort((a, b) => b - a);
    for (const number of others.slice(MAX_PENDING)) this.#generations.delete(number);
  }
}

/**
 * @param {Generation} generation
 * @param {number} before
 */
function forgetSteps(generation, before) {
  generation.first = Math.max(generation.first, before);
  for (const step of generation.bases.keys()) {
    if (step < generation.first) generation.bases.delete(step);
  }
  for (const place of generation.streams.keys()) {
    if (place >> 8 < generation.first) generation.streams.delete(place);
  }
}

/** Milliseconds that old keys are kept for frames that are still under way. */
const LINGER = 2_000;

/** Generations that a sender may prepare ahead: it discards one for each departure within two seconds. */
const MAX_PENDING = 3;
