// One connection to a call, from its WebSocket to its media: it lives until the call is left or the connection is
// lost, and is then replaced as a whole, with new keys and a new participant id.

import { SottoError, asSottoError } from './error.js';
import { Signaling, detail, socketUrl } from './signaling.js';
import { Slots } from './slots.js';
import { Transport, isSource } from './transport.js';

/**
 * @typedef {import('./transport.js').Source} Source
 * @typedef {import('./transport.js').Encryption} Encryption
 * @typedef {import('./signaling.js').Joined} Joined
 * @typedef {import('./slots.js').Owner} Owner
 *
 * @typedef {object} Hooks
 * @property {(joined: Joined) => void} joined
 * @property {() => void} up Media can flow.
 * @property {(id: string) => void} arrived
 * @property {(id: string) => void} departed
 * @property {(id: string, stream: string) => void} published
 * @property {(id: string, stream: string) => void} unpublished
 * @property {(owner: Owner, track: MediaStreamTrack | null) => void} show
 * @property {(reason: string, seconds: number) => void} closing
 * @property {(error: SottoError) => void} fault Something failed that leaves the connection standing.
 * @property {(error: SottoError) => void} lost The connection is over.
 */

export class Session {
  #signaling;
  #transport;
  #slots;
  #encryption;
  #hooks;
  #host;
  #joined = false;
  #over = false;
  /** What the relay was last told that we want, by publication. @type {Map<string, number>} */ #wanted = new Map();
  /** @type {Set<string>} */ #published = new Set();

  /**
   * @param {string} link
   * @param {Encryption} encryption
   * @param {Hooks} hooks
   */
  constructor(link, encryption, hooks) {
    this.#hooks = hooks;
    this.#encryption = encryption;
    this.#host = new URL(link).host;
    this.#signaling = new Signaling(socketUrl(link));
    this.#slots = new Slots({
      point: (key, epoch, participant, stream) => encryption.point(key, epoch, participant, stream),
      blank: (key) => encryption.blank(key),
      acknowledge: (slot, epoch) => this.#signaling.send({ type: 'assigned', slot, epoch }),
      show: (owner, track) => hooks.show(owner, track),
      fail: (error) => hooks.fault(asSottoError(error, 'encryption')),
    });
    this.#transport = new Transport({
      encryption,
      negotiate: (sdp) => this.#signaling.offer(sdp),
      addSlot: (key, track, mid) => this.#slots.add(key, track, mid),
    });
    this.#listen();
  }

  /** Resolves once the server has admitted us; the media connection goes on to open. */
  async join() {
    const joined = await this.#signaling.join((nonce) => this.#encryption.admission(nonce, this.#host));
    this.#transport.open().catch((error) => this.#lose(asSottoError(error, 'media')));
    return joined;
  }

  /** How many messages wait for their turn to be sent. */
  get backlog() {
    return this.#signaling.backlog;
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack} track
   */
  async publish(source, track) {
    if (!this.#joined) return; // Whoever joins sends all there is.
    const mid = await this.#transport.carry(source, track);
    if (this.#published.has(source)) return;
    this.#published.add(source);
    this.#signaling.send({ type: 'publish', stream: source, mid });
  }

  /** @param {Source} source */
  async unpublish(source) {
    if (!this.#joined) return;
    if (this.#published.delete(source)) this.#signaling.send({ type: 'unpublish', stream: source });
    await this.#transport.carry(source, null);
  }

  /**
   * @param {string} participant
   * @param {string} stream
   * @param {number} height In device pixels; 0 for nothing.
   */
  want(participant, stream, height) {
    if (!this.#joined) return; // Whoever joins asks for all that they want.
    const key = `${participant} ${stream}`;
    const before = this.#wanted.get(key) ?? 0;
    if (before === height) return;
    if (height === 0) {
      this.#wanted.delete(key);
      this.#signaling.send({ type: 'unsubscribe', participant, stream });
    } else {
      this.#wanted.set(key, height);
      this.#signaling.send({ type: 'subscribe', participant, stream, height });
    }
  }

  /** @param {{to?: string, data: string}} message */
  relay({ to, data }) {
    this.#signaling.send(to === undefined ? { type: 'relay', data } : { type: 'relay', to, data });
  }

  /** @param {{slot: string, participant: string, stream: string}} frame */
  authenticated(frame) {
    this.#slots.authenticated(frame);
  }

  restart() {
    return this.#transport.restart();
  }

  getStats() {
    return this.#transport.getStats();
  }

  close() {
    if (this.#over) return;
    this.#over = true;
    this.#signaling.close();
    this.#transport.close();
    this.#slots.clear();
  }

  #listen() {
    const on = (/** @type {string} */ type, /** @type {(message: any) => void} */ act) =>
      this.#signaling.addEventListener(type, (event) => this.#over || act(detail(event)));
    on('joined', (joined) => {
      this.#joined = true;
      this.#hooks.joined(joined);
    });
    on('slots', ({ pairs }) => {
      this.#transport.receive(pairs).catch((error) => this.#lose(asSottoError(error, 'encryption')));
    });
    on('participant', ({ id }) => this.#hooks.arrived(id));
    on('left', ({ id }) => {
      this.#forget(id);
      this.#hooks.departed(id);
    });
    on('published', ({ participant, stream }) => this.#hooks.published(participant, stream));
    on('unpublished', ({ participant, stream }) => {
      this.#forget(participant, stream);
      this.#hooks.unpublished(participant, stream);
    });
    on('assign', (message) => isSource(message.stream) && void this.#slots.assign(message));
    on('release', (message) => void this.#slots.release(message));
    on('relay', ({ from, data }) => this.#encryption.receive(from, data));
    on('closing', ({ reason, seconds }) => this.#hooks.closing(String(reason), Number(seconds) || 0));
    on('notice', (error) => this.#hooks.fault(error));
    on('lost', (error) => this.#lose(error));
    this.#transport.addEventListener('up', () => this.#over || this.#hooks.up());
    this.#transport.addEventListener('down', (event) => this.#lose(detail(event)));
  }

  /**
   * @param {string} participant
   * @param {string} [stream]
   */
  #forget(participant, stream) {
    void this.#slots.forget(participant, stream);
    for (const key of this.#wanted.keys()) {
      if (stream === undefined ? key.startsWith(`${participant} `) : key === `${participant} ${stream}`) {
        this.#wanted.delete(key);
      }
    }
  }

  /** @param {SottoError} error */
  #lose(error) {
    if (this.#over) return;
    this.close();
    // Before that, `join` has said so.
    if (this.#joined) this.#hooks.lost(error);
  }
}
