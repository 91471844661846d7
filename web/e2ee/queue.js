// Work that must happen one after the other, though each piece awaits.

export class Queue {
  /** @type {Promise<void>} */
  #tail = Promise.resolve();
  #length = 0;
  /** @type {Map<string, number>} */
  #waiting = new Map();

  /**
   * Adds a task. One that fails is done; the next follows.
   * @param {() => Promise<void> | void} task
   * @returns {Promise<void>} when it has run
   */
  add(task) {
    this.#length++;
    this.#tail = this.#tail.then(task).catch(() => undefined).then(() => {
      this.#length--;
    });
    return this.#tail;
  }

  /**
   * Adds a task whose failure concerns who asked for it.
   * @param {() => Promise<void>} task
   * @returns {Promise<void>} rejects as the task does
   */
  run(task) {
    return new Promise((resolve, reject) => {
      void this.add(() => task().then(resolve, reject));
    });
  }

  /**
   * Adds a task that somebody else caused, unless too many of theirs, or of all, are waiting.
   * @param {string} source
   * @param {() => Promise<void>} task
   * @returns {boolean} whether it was added
   */
  offer(source, task) {
    const waiting = this.#waiting.get(source) ?? 0;
    if (waiting >= MAX_EACH || this.#length >= MAX_ALL) return false;
    this.#waiting.set(source, waiting + 1);
    void this.add(task).then(() => {
      const left = (this.#waiting.get(source) ?? 1) - 1;
      if (left > 0) this.#waiting.set(source, left);
      else this.#waiting.delete(source);
    });
    return true;
  }

  /** Resolves once everything added so far has run. */
  idle() {
    return this.#tail;
  }

  get length() {
    return this.#length;
  }
}

/** Messages of one sender that may wait: it takes a busy second to gather as many. */
const MAX_EACH = 64;

/** Messages of all senders that may wait; at 16 KiB each they hold 64 MiB. */
const MAX_ALL = 4_096;
