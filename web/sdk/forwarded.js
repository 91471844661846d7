// One connection by way of the relay's forwarding: what we publish on it, what we asked for, and the slots in which it
// arrives. A call opens it first, and anew whenever it comes back from the tunnel.

import { asSottoError } from './error.js';
import { Slots } from './slots.js';
import { Transport, isSource } from './transport.js';

/**
 * @typedef {import('./transport.js').Source} Source
 * @typedef {import('./transport.js').Encryption} Encryption
 * @typedef {import('./slots.js').Owner} Owner
 *
 * @typedef {object} Hooks
 * @property {(message: import('./signaling.js').Message) => void} send
 * @property {(sdp: string) => Promise<string>} negotiate Resolves with the relay's answer.
 * @property {(owner: Owner, track: MediaStreamTrack | null) => void} show
 * @property {() => void} up Media can flow.
 * @property {(error: import('./error.js').SottoError) => void} fault
 * @property {(error: import('./error.js').SottoError) => void} lost
 */

export class Forwarded {
  #hooks;
  #transport;
  #slots;
  #closed = false;
  /** What the relay was last told that we want, by publication. @type {Map<string, number>} */ #wanted = new Map();
  /** @type {Set<Source>} */ #published = new Set();

  /**
   * @param {Encryption} encryption
   * @param {Hooks} hooks
   */
  constructor(encryption, hooks) {
    this.#hooks = hooks;
    this.#slots = new Slots({
      point: (key, epoch, participant, stream) => encryption.point(key, epoch, participant, stream),
      blank: (key) => encryption.blank(key),
      acknowledge: (slot, epoch) => hooks.send({ type: 'assigned', slot, epoch }),
      show: (owner, track) => hooks.show(owner, track),
      fail: (error) => this.#closed || hooks.fault(asSottoError(error, 'encryption')),
    });
    this.#transport = new Transport({
      encryption,
      negotiate: hooks.negotiate,
      addSlot: (key, track, mid) => this.#slots.add(key, track, mid),
    });
    this.#transport.addEventListener('up', () => this.#closed || hooks.up());
    this.#transport.addEventListener('down', (event) => this.#lose(/** @type {CustomEvent} */ (event).detail));
  }

  /** @param {number} pairs Of slots, as many as the relay asked for so far. */
  open(pairs) {
    this.#transport.open().catch((error) => this.#lose(asSottoError(error, 'media')));
    this.receive(pairs);
  }

  /** @param {number} pairs */
  receive(pairs) {
    this.#transport.receive(pairs).catch((error) => this.#lose(asSottoError(error, 'encryption')));
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack} track
   */
  async publish(source, track) {
    const mid = await this.#transport.carry(source, track);
    if (this.#closed || this.#published.has(source)) return;
    this.#published.add(source);
    this.#hooks.send({ type: 'publish', stream: source, mid });
  }

  /** @param {Source} source */
  async unpublish(source) {
    if (this.#published.delete(source)) this.#hooks.send({ type: 'unpublish', stream: source });
    await this.#transport.carry(source, null);
  }

  /**
   * @param {string} participant
   * @param {string} stream
   * @param {number} height In device pixels; 0 for nothing.
   */
  want(participant, stream, height) {
    const key = `${participant} ${stream}`;
    const before = this.#wanted.get(key) ?? 0;
    if (before === height) return;
    if (height === 0) {
      this.#wanted.delete(key);
      this.#hooks.send({ type: 'unsubscribe', participant, stream });
    } else {
      this.#wanted.set(key, height);
      this.#hooks.send({ type: 'subscribe', participant, stream, height });
    }
  }

  /** @param {{slot: string, epoch: number, participant: string, stream: string}} message */
  assign(message) {
    if (isSource(message.stream)) void this.#slots.assign({ ...message, stream: message.stream });
  }

  /** @param {{slot: string, epoch: number}} message */
  release(message) {
    void this.#slots.release(message);
  }

  /** @param {{slot: string, participant: string, stream: string}} frame */
  authenticated(frame) {
    this.#slots.authenticated(frame);
  }

  /**
   * Somebody left, or stopped publishing.
   * @param {string} participant
   * @param {string} [stream]
   */
  forget(participant, stream) {
    void this.#slots.forget(participant, stream);
    for (const key of this.#wanted.keys()) {
      if (stream === undefined ? key.startsWith(`${participant} `) : key === `${participant} ${stream}`) {
        this.#wanted.delete(key);
      }
    }
  }

  restart() {
    return this.#transport.restart();
  }

  /** @param {MediaStreamTrack} [track] Of this alone. */
  getStats(track) {
    return this.#transport.getStats(track);
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#transport.close();
    this.#slots.clear();
  }

  /** @param {import('./error.js').SottoError} error */
  #lose(error) {
    if (!this.#closed) this.#hooks.lost(error);
  }
}
