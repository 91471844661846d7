// The call in its host's hands: the lock, who knocks, who is let in and who is removed, as the host's signed word says
// (e2ee.md rule 9). Members check that word themselves; here is only what the page sees of it.

import { SottoError, asSottoError } from './error.js';
import { detail } from './signaling.js';

/**
 * @typedef {import('./participant.js').Participant} Participant
 * @typedef {{participant: string, name: string}} Knock
 *
 * @typedef {object} Hooks
 * @property {(message: import('./signaling.js').Message) => void} send To the server.
 * @property {(id: string) => Participant | undefined} participant
 * @property {() => Participant} self
 * @property {() => Promise<void>} mute Turns our microphone off.
 * @property {(error: SottoError) => void} removed The host removed us.
 * @property {(type: string, value: object) => void} emit
 */

/** Milliseconds between two knocks: the server takes one a second, and a member who just came heard none before. */
const KNOCK_MS = 5_000;

export class Moderation {
  /** Who asks to be let in. @type {Knock[]} */ knocks = [];
  locked = false;
  /** Where the host is. @type {string | null} */ #host = null;
  #mine = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #knocking;
  #encryption;
  #hooks;

  /**
   * @param {import('../e2ee/encryption.js').Encryption} encryption
   * @param {Hooks} hooks
   */
  constructor(encryption, hooks) {
    this.#encryption = encryption;
    this.#hooks = hooks;
    const on = (/** @type {string} */ type, /** @type {(value: any) => void} */ act) =>
      encryption.addEventListener(type, (event) => act(detail(event)));
    on('host', (state) => this.#learn(state));
    on('host-state', ({ state }) => hooks.send({ type: 'host', state }));
    on('knock', ({ participant, name }) => {
      this.#setKnocks([...this.knocks.filter((each) => each.participant !== participant), { participant, name }]);
    });
    on('knock-end', ({ participant }) => {
      this.#setKnocks(this.knocks.filter((each) => each.participant !== participant));
    });
    on('removed', () => hooks.removed(new SottoError('removed')));
  }

  /** Whether ours is the host link. */
  get isHost() {
    return this.#encryption.isHost;
  }

  /** Who the host's word names, where they are in the call; perhaps ourselves. @returns {Participant | null} */
  get host() {
    if (this.#mine) return this.#hooks.self();
    return this.#host === null ? null : this.#hooks.participant(this.#host) ?? null;
  }

  /**
   * The call is locked and we wait outside: a host says so, anybody else knocks until somebody opens.
   * @param {string} participant Our id.
   * @param {object} state The host's word, as the server has it.
   */
  async waiting(participant, state) {
    this.admitted();
    await this.#encryption.waiting(participant, state);
    if (this.isHost) return;
    const knock = async () => this.#hooks.send({ type: 'knock', data: await this.#encryption.knock(participant) });
    this.#knocking = setInterval(() => void knock().catch(() => {}), KNOCK_MS);
    await knock();
  }

  /** We are in, or wait no longer. */
  admitted() {
    clearInterval(this.#knocking);
    this.#knocking = undefined;
  }

  /**
   * What the server says of one who waits.
   * @param {'knock' | 'knock-end'} type
   * @param {import('./signaling.js').Message} message
   */
  knocked(type, { id, data }) {
    if (type === 'knock') this.#encryption.knocked(id, data);
    else this.#encryption.knockEnded(id);
  }

  /** A new connection to the call: whoever still waits knocks again. */
  reset() {
    this.admitted();
    if (this.knocks.length > 0) this.#setKnocks([]);
  }

  /** @param {boolean} on */
  lock(on) {
    return this.#act(() => this.#encryption.lock(on));
  }

  /** @param {string} participant Of a knock. */
  admit(participant) {
    return this.#act(() => this.#encryption.admit(participant));
  }

  /** @param {string} participant Of a knock. */
  deny(participant) {
    return this.#act(() => this.#encryption.deny(participant));
  }

  /** @param {Participant | string} participant */
  remove(participant) {
    return this.#act(() => this.#encryption.remove(typeof participant === 'string' ? participant : participant.id));
  }

  muteAll() {
    return this.#act(() => this.#encryption.muteAll());
  }

  /**
   * Somebody asks all to mute themselves: the host may.
   * @param {Participant} by
   */
  async muted(by) {
    if (by !== this.host) return;
    await this.#hooks.mute();
    this.#hooks.emit('mute', { by });
  }

  /** @param {() => Promise<void>} act */
  async #act(act) {
    if (!this.isHost) throw new SottoError('host');
    try {
      await act();
    } catch (error) {
      throw asSottoError(error, 'host');
    }
  }

  /** @param {{present: string | null, locked: boolean, mine: boolean}} state */
  #learn({ present, locked, mine }) {
    this.#host = present;
    this.#mine = mine;
    this.locked = locked;
    this.#hooks.emit('host', { host: this.host, locked });
  }

  /** @param {Knock[]} knocks */
  #setKnocks(knocks) {
    this.knocks = knocks;
    this.#hooks.emit('knock', { knocks });
  }
}
