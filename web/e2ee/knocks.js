// Those who wait outside a locked call: who they say they are, once that held.

import { toBase64Url } from './bytes.js';

/** @typedef {import('./hello.js').Hello} Hello */

export class Knocks {
  /** By connection. @type {Map<string, Hello>} */
  #waiting = new Map();

  /**
   * @param {Hello} knock
   * @returns {'new' | 'same' | 'replay' | 'identity' | 'crowd'}
   */
  judge({ participant, identity, seq }) {
    const key = toBase64Url(identity);
    for (const [id, known] of this.#waiting) {
      const same = toBase64Url(known.identity) === key;
      if (id === participant && !same) return 'identity';
      if (same && seq < known.seq) return 'replay';
      if (same && id === participant) return 'same';
      if (same && seq === known.seq) return 'replay';
    }
    return this.#waiting.size >= MAX_KNOCKS && !this.#connection(key) ? 'crowd' : 'new';
  }

  /**
   * Takes a knock that was judged new.
   * @param {Hello} knock
   * @returns {string | undefined} the connection of the same identity that it takes the place of
   */
  add(knock) {
    const before = this.#connection(toBase64Url(knock.identity));
    if (before !== undefined) this.#waiting.delete(before);
    this.#waiting.set(knock.participant, knock);
    return before;
  }

  /**
   * @param {string} participant
   * @returns {Hello | undefined}
   */
  of(participant) {
    return this.#waiting.get(participant);
  }

  /**
   * @param {string} participant
   * @returns {boolean} whether it was waiting
   */
  end(participant) {
    return this.#waiting.delete(participant);
  }

  /** @returns {Hello[]} */
  get all() {
    return [...this.#waiting.values()];
  }

  /** @param {string} key */
  #connection(key) {
    for (const [id, { identity }] of this.#waiting) {
      if (toBase64Url(identity) === key) return id;
    }
    return undefined;
  }
}

/** As many as a relay lets wait; more than a host looks through. */
export const MAX_KNOCKS = 16;
