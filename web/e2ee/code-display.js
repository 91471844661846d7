// When the verification code is shown, and what is said with it: who came, who left, whom the host removed.

import { verificationCode } from './code.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {{joined: string[], left: string[], removed: string[]}} News names, since the last code */

/**
 * @typedef {object} CodeSurroundings
 * @property {() => Bytes[]} identities everyone's, one's own included
 * @property {(detail: {code: string} & News) => void} show
 */

export class CodeDisplay {
  #crypto;
  #call;
  #around;
  /** @type {News} */
  #news = nothing();
  #changes = 0;
  /** @type {Promise<void> | null} */
  #working = null;

  /**
   * @param {Crypto} crypto
   * @param {Bytes} call
   * @param {CodeSurroundings} around
   */
  constructor(crypto, call, around) {
    this.#crypto = crypto;
    this.#call = call;
    this.#around = around;
  }

  /**
   * @param {keyof News} what
   * @param {string} name
   */
  note(what, name) {
    this.#news[what].push(name);
  }

  /** The roster is another. */
  changed() {
    this.#changes++;
    this.#working ??= this.#work();
  }

  /** Resolves once the code of the latest roster is shown. */
  async idle() {
    await this.#working;
  }

  /** Shows the code of the latest roster; those that it went through on the way are passed over. */
  async #work() {
    for (let shown = -1; shown !== this.#changes;) {
      shown = this.#changes;
      const code = await verificationCode(this.#crypto, this.#call, this.#around.identities());
      if (shown !== this.#changes) continue;
      this.#around.show({ code, ...this.#news });
      this.#news = nothing();
    }
    this.#working = null;
  }
}

/** @returns {News} */
function nothing() {
  return { joined: [], left: [], removed: [] };
}
