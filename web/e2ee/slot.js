// A place that others' streams come and go in: whose frames it opens now, and what it says when none authenticate.

import { clearBytes, isVideo, STREAMS } from './frame.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./frame.js').Stream} Stream */
/** @typedef {import('./frame.js').FrameCodec} FrameCodec */
/** @typedef {import('./membership.js').Peer} Peer */

/**
 * @typedef {object} SlotSurroundings
 * @property {() => number} now milliseconds
 * @property {(participant: string) => Peer | undefined} member that participant, where it is on the roster
 * @property {(slot: Slot) => void} live upon the first authenticated frame
 * @property {(slot: Slot, why: string) => void} unverified when nothing has authenticated for a while
 * @property {(slot: Slot) => void} wantKeyFrame
 * @property {(why: string) => void} refused for every frame that is dropped
 */

export class Slot {
  #around;

  /**
   * @param {string} id
   * @param {SlotSurroundings} around
   */
  constructor(id, around) {
    this.#around = around;
    this.id = id;
    this.epoch = -1;
    /** @type {string | null} */
    this.participant = null;
    /** @type {Stream} */
    this.stream = 'camera';
    this.live = false;
    /** @type {number | null} since when nothing but failures came */
    this.failingSince = null;
    this.told = false;
    this.opened = 0;
    this.dropped = 0;
    this.askedAt = -Infinity;
  }

  /**
   * Opens that participant's stream from now on, and no other.
   * @param {number} epoch
   * @param {string} participant
   * @param {Stream} stream
   * @returns {boolean} false for an epoch that has passed
   */
  point(epoch, participant, stream) {
    if (epoch < this.epoch) return false;
    this.#reset(epoch, participant);
    this.stream = stream;
    this.askedAt = -Infinity;
    if (isVideo(stream)) this.ask();
    return true;
  }

  /** Opens nothing from now on. */
  blank() {
    this.#reset(this.epoch, null);
  }

  /** Asks the sender for a key frame, where the last time is long enough ago. */
  ask() {
    if (this.#around.now() - this.askedAt < ASK_AGAIN) return;
    this.askedAt = this.#around.now();
    this.#around.wantKeyFrame(this);
  }

  /** A key came from the participant: what could not be opened until now may be. */
  keyed() {
    if (this.participant === null || this.live || !isVideo(this.stream) || this.dropped === 0) return;
    this.askedAt = -Infinity;
    this.ask();
  }

  /**
   * @param {FrameCodec} codec
   * @param {Bytes} frame
   * @param {boolean} isKey whether it is a key frame; of no meaning for audio
   * @returns {Promise<Bytes | null>} `null` where it must not be rendered
   */
  async open(codec, frame, isKey) {
    const { epoch, participant } = this;
    if (participant === null) return this.#drop('blank', false);
    const peer = this.#around.member(participant);
    if (!peer) return this.#drop('unknown', true);
    const clear = clearBytes(codec, frame);
    const opened = clear === null ? 'malformed' : await peer.receiving.open(STREAMS[this.stream], frame, clear);
    if (epoch !== this.epoch || participant !== this.participant) return this.#drop('blank', false);
    if (clear === null || typeof opened === 'string') {
      // Browsers hand over a frame twice when its packets were sent again to probe the network: no cause for alarm.
      return this.#drop(String(opened), opened !== 'replay' || !this.live, peer);
    }
    return this.#rendered(frame.subarray(0, clear), opened.plaintext, isKey);
  }

  /**
   * @param {Bytes} clear
   * @param {Bytes} plaintext
   * @param {boolean} isKey
   * @returns {Bytes | null}
   */
  #rendered(clear, plaintext, isKey) {
    this.failingSince = null;
    if (!this.live && isVideo(this.stream) && !isKey) {
      this.dropped++;
      this.ask();
      return null;
    }
    this.opened++;
    if (!this.live || this.told) {
      this.live = true;
      this.told = false;
      this.#around.live(this);
    }
    const whole = new Uint8Array(clear.length + plaintext.length);
    whole.set(clear);
    whole.set(plaintext, clear.length);
    return whole;
  }

  /**
   * @param {string} why
   * @param {boolean} failed whether it should have opened
   * @param {Peer} [peer]
   * @returns {null}
   */
  #drop(why, failed, peer) {
    this.dropped++;
    this.#around.refused(why);
    if (!failed) return null;
    const now = this.#around.now();
    this.failingSince ??= now;
    if (isVideo(this.stream)) this.ask();
    const since = Math.max(this.failingSince, peer?.receiving.empty ? peer.enteredAt + FIRST_KEY : 0);
    if (!this.told && now - since >= PATIENCE) {
      this.told = true;
      this.#around.unverified(this, why);
    }
    return null;
  }

  /**
   * @param {number} epoch
   * @param {string | null} participant
   */
  #reset(epoch, participant) {
    this.epoch = epoch;
    this.participant = participant;
    this.live = false;
    this.failingSince = null;
    this.told = false;
    this.opened = 0;
    this.dropped = 0;
  }
}

/** Milliseconds of nothing but failures after which it is shown. */
const PATIENCE = 1_000;

/** Milliseconds that a newcomer's first key may take: two to change a generation, and the way. */
const FIRST_KEY = 3_000;

/** Milliseconds between two requests for a key frame. */
const ASK_AGAIN = 500;
