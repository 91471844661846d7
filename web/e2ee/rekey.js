// When our sender key changes and who is sent what: a step for newcomers, a fresh generation when somebody left.

import { LAST_STEP } from './sender-key.js';

/** @typedef {import('./membership.js').Peer} Peer */
/** @typedef {import('./sender-key.js').SenderKeys} SenderKeys */
/** @typedef {import('./sender-key.js').BaseKey} BaseKey */

/**
 * @typedef {object} Surroundings
 * @property {() => number} now milliseconds
 * @property {(milliseconds: number, task: () => Promise<void>) => () => void} later returns its cancel
 * @property {() => number} window milliseconds within which changes are one change
 * @property {() => Peer[]} members those on the roster
 * @property {(peer: Peer, key: BaseKey) => Promise<void>} deliver sends a key
 * @property {(generation: boolean) => Promise<void>} changed after a step or a switch
 */

export class Rekeying {
  #keys;
  #around;
  /** @type {Set<Peer>} on the roster, not yet sent a key */
  #newcomers = new Set();
  #departed = false;
  /** @type {number | null} when those who left must be shut out */
  #deadline = null;
  #lastChange = -Infinity;
  #settled = -Infinity;
  /** @type {Set<Peer>} */
  #waiting = new Set();
  /** @type {(() => void) | null} */
  #changeTimer = null;
  /** @type {(() => void) | null} */
  #switchTimer = null;

  /**
   * @param {SenderKeys} keys
   * @param {Surroundings} around
   */
  constructor(keys, around) {
    this.#keys = keys;
    this.#around = around;
  }

  /**
   * After (re)joining, those who were there first are waited for a moment, so that they share one key message each.
   * @param {number} milliseconds
   */
  settle(milliseconds) {
    this.#settled = this.#around.now() + milliseconds;
  }

  /** Everyone who was there has been met. */
  async settledEarly() {
    if (this.#settled <= this.#around.now()) return;
    this.#settled = -Infinity;
    if (this.#changeTimer) await this.#schedule();
  }

  /**
   * Somebody entered the roster.
   * @param {Peer} peer
   */
  async entered(peer) {
    const { pending } = this.#keys;
    if (pending) {
      await this.#deliverPending(peer, pending);
      return;
    }
    this.#newcomers.add(peer);
    await this.#schedule();
  }

  /**
   * Somebody on the roster came back over a new connection: it is sent what the others have.
   * @param {Peer} peer
   */
  async returned(peer) {
    if (this.#newcomers.has(peer)) return;
    const { current, pending } = this.#keys;
    if (current) await this.#around.deliver(peer, current);
    if (pending) await this.#deliverPending(peer, pending);
  }

  /**
   * Somebody left the roster.
   * @param {Peer} peer
   * @param {boolean} [atOnce] whether it was shut out, so that no other change is waited for
   */
  async departed(peer, atOnce = false) {
    this.#newcomers.delete(peer);
    if (!this.#keys.current) return;
    // Whoever left was sent what is pending: it is never switched to.
    this.#keys.discard();
    this.#cancelSwitch();
    this.#departed = true;
    const now = this.#around.now();
    this.#deadline ??= now + Math.max(SWITCH, this.#around.window() + SWITCH - 1_000);
    if (atOnce) {
      this.#deadline = Math.min(this.#deadline, now + SWITCH);
      this.#lastChange = -Infinity;
      this.#settled = -Infinity;
    }
    await this.#schedule();
  }

  /**
   * @param {Peer} peer
   * @param {number} generation
   * @param {number} step
   */
  async acknowledged(peer, generation, step) {
    const { pending } = this.#keys;
    if (!pending || pending.generation !== generation || pending.step !== step) return;
    this.#waiting.delete(peer);
    if (this.#waiting.size === 0) await this.#switch();
  }

  /** We reconnected: nobody has the new generation, and everyone is sent it on coming back. */
  restart() {
    this.#newcomers.clear();
    this.#departed = false;
    this.#deadline = null;
    this.#lastChange = -Infinity;
    this.#cancelSwitch();
    this.#changeTimer?.();
    this.#changeTimer = null;
    this.#keys.restart();
  }

  close() {
    this.restart();
    this.#keys.erase();
  }

  async #schedule() {
    this.#changeTimer?.();
    this.#changeTimer = null;
    if (this.#newcomers.size === 0 && !this.#departed) return;
    const now = this.#around.now();
    let due = Math.max(this.#lastChange + this.#around.window(), this.#settled);
    if (this.#departed && this.#deadline !== null) due = Math.min(due, this.#deadline);
    if (due <= now) {
      await this.#change();
      return;
    }
    this.#changeTimer = this.#around.later(due - now, async () => {
      this.#changeTimer = null;
      await this.#change();
    });
  }

  async #change() {
    this.#lastChange = this.#around.now();
    const { current } = this.#keys;
    if (this.#departed || (current && current.step >= LAST_STEP)) await this.#startGeneration();
    else await this.#step();
  }

  async #step() {
    const newcomers = [...this.#newcomers];
    this.#newcomers.clear();
    const key = this.#keys.current ? await this.#keys.step() : this.#keys.ensure();
    for (const peer of newcomers) await this.#around.deliver(peer, key);
    await this.#around.changed(false);
  }

  async #startGeneration() {
    this.#departed = false;
    this.#newcomers.clear();
    const key = this.#keys.prepare();
    const members = this.#around.members();
    this.#waiting = new Set(members);
    for (const peer of members) await this.#around.deliver(peer, key);
    const now = this.#around.now();
    const at = Math.min(now + SWITCH, this.#deadline ?? Infinity);
    if (at <= now || this.#waiting.size === 0) {
      await this.#switch();
      return;
    }
    this.#switchTimer = this.#around.later(at - now, () => this.#switch());
  }

  /**
   * @param {Peer} peer
   * @param {BaseKey} pending
   */
  async #deliverPending(peer, pending) {
    this.#waiting.add(peer);
    await this.#around.deliver(peer, pending);
  }

  async #switch() {
    this.#cancelSwitch();
    this.#deadline = null;
    this.#keys.switch();
    await this.#around.changed(true);
  }

  #cancelSwitch() {
    this.#switchTimer?.();
    this.#switchTimer = null;
    this.#waiting.clear();
  }
}

/** Milliseconds after a departure by which the fresh generation is used, whoever has not acknowledged it. */
const SWITCH = 2_000;
