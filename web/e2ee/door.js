// Who may come in: the host state in force, and the hellos of those who may not for now, kept so that they are met at
// once when the host lets them in.

import { toBase64Url } from './bytes.js';
import { supersedes } from './host-state.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./hello.js').Hello} Hello */
/** @typedef {import('./host-state.js').HostState} HostState */

/** @typedef {{hello: Hello, ready: Record<string, unknown> | null}} Held the `ready` as it came, still sealed */

export class Door {
  /** @type {HostState | null} */
  state = null;
  /** @type {Set<string>} */
  #admitted = new Set();
  /** @type {Set<string>} */
  #removed = new Set();
  /** By connection. @type {Map<string, Held>} */
  #held = new Map();

  /** @returns {number} 0 until there is a state */
  get counter() {
    return this.state?.counter ?? 0;
  }

  get locked() {
    return this.state?.locked ?? false;
  }

  /**
   * Takes a state that held.
   * @param {HostState} state
   * @returns {boolean} false where the one in force is newer, or the same
   */
  take(state) {
    if (!supersedes(state, this.state)) return false;
    this.state = state;
    this.#admitted = new Set(state.admitted.map(toBase64Url));
    this.#removed = new Set(state.removed.map(toBase64Url));
    return true;
  }

  /**
   * Why somebody who is not on the roster may not come in.
   * @param {Bytes} identity
   * @returns {'removed' | 'locked' | null}
   */
  refusal(identity) {
    const key = toBase64Url(identity);
    if (this.#removed.has(key)) return 'removed';
    return !this.locked || this.#admitted.has(key) || this.names(identity) ? null : 'locked';
  }

  /**
   * Whether the state in force names that identity as the host.
   * @param {Bytes} identity
   */
  names(identity) {
    return this.state !== null && toBase64Url(this.state.host) === toBase64Url(identity);
  }

  /**
   * Keeps the hello of a connection that is refused for now; the latest, where it said more than one.
   * @param {string} from
   * @param {Hello} hello
   */
  hold(from, hello) {
    this.#held.delete(from);
    this.#held.set(from, { hello, ready: null });
    if (this.#held.size <= MAX_HELD) return;
    for (const oldest of this.#held.keys()) {
      this.#held.delete(oldest);
      return;
    }
  }

  /**
   * Keeps the `ready` that follows a hello that is held.
   * @param {string} from
   * @param {Record<string, unknown>} fields
   * @returns {boolean} whether that connection is held
   */
  holdReady(from, fields) {
    const held = this.#held.get(from);
    if (held) held.ready ??= fields;
    return held !== undefined;
  }

  /**
   * @param {string} from
   * @returns {Hello | undefined}
   */
  held(from) {
    return this.#held.get(from)?.hello;
  }

  /**
   * Gives up those who may come in now, and forgets those who never may.
   * @returns {[string, Held][]}
   */
  release() {
    const released = [];
    for (const [from, held] of this.#held) {
      const refusal = this.refusal(held.hello.identity);
      if (refusal === 'locked') continue;
      this.#held.delete(from);
      if (refusal === null) released.push(/** @type {[string, Held]} */ ([from, held]));
    }
    return released;
  }

  /** @param {string} from a connection that is gone */
  forget(from) {
    this.#held.delete(from);
  }

  /** Forgets all who are held, as when we reconnect: they greet us again. */
  clear() {
    this.#held.clear();
  }
}

/** Hellos that are kept: more than a relay lets wait, so that a host can let in whom the server let pass the lock. */
export const MAX_HELD = 64;
