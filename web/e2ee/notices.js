// What could not be verified: counted each time, shown to the page once for each connection and reason.

/**
 * @typedef {object} NoticeSurroundings
 * @property {(participant: string) => string} nameOf empty where it cannot be known
 * @property {(detail: {participant: string, name: string, stream: string | undefined, why: string}) => void} show
 */

export class Notices {
  #around;
  /** What was shown already, of those who are present. @type {Set<string>} */
  #shown = new Set();
  /** Messages and frames that were refused, by reason. @type {Record<string, number>} */
  counters = {};

  /** @param {NoticeSurroundings} around */
  constructor(around) {
    this.#around = around;
  }

  /** @param {string} why */
  count(why) {
    this.counters[why] = (this.counters[why] ?? 0) + 1;
  }

  /**
   * @param {string} participant
   * @param {string} why
   */
  unverified(participant, why) {
    this.count(why);
    const key = `${participant} ${why}`;
    if (this.#shown.has(key)) return;
    this.#shown.add(key);
    this.#around.show({ participant, name: this.#around.nameOf(participant), stream: undefined, why });
  }

  /**
   * Nothing of a slot's stream has opened for a while.
   * @param {{participant: string | null, stream: string}} slot
   * @param {string} why
   */
  unverifiedFrames({ participant, stream }, why) {
    const id = participant ?? '';
    this.#around.show({ participant: id, name: this.#around.nameOf(id), stream, why });
  }

  /** @param {string} participant whose connection is gone */
  forget(participant) {
    for (const key of this.#shown) {
      if (key.startsWith(`${participant} `)) this.#shown.delete(key);
    }
  }

  clear() {
    this.#shown.clear();
  }
}
