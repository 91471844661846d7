// Speaking hints: they leave by our clock and not by the page's, so that their timing says nothing.

export class Hints {
  #around;
  /** @type {{body: unknown, until: number} | null} */
  #hint = null;
  /** @type {(() => void) | null} */
  #timer = null;

  /**
   * @param {object} around
   * @param {() => number} around.now milliseconds
   * @param {(milliseconds: number, task: () => Promise<void>) => () => void} around.later
   * @param {(body: unknown) => Promise<void>} around.say
   */
  constructor(around) {
    this.#around = around;
  }

  /**
   * What to say from the next hint on, until nothing was set for a while.
   * @param {unknown} body
   */
  set(body) {
    this.#hint = { body, until: this.#around.now() + LIFE };
    this.#timer ??= this.#around.later(0, () => this.#say());
  }

  close() {
    this.#timer?.();
    this.#hint = null;
  }

  async #say() {
    this.#timer = null;
    if (!this.#hint || this.#hint.until < this.#around.now()) return;
    this.#timer = this.#around.later(INTERVAL, () => this.#say());
    await this.#around.say(this.#hint.body);
  }
}

/** Milliseconds between two hints: quick enough to follow a conversation. */
const INTERVAL = 250;

/** Milliseconds after which a hint that is not renewed ends: the microphone is off, or the page asleep. */
const LIFE = 1_500;
