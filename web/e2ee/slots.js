// All slots of a call, by the names that the page gave them.

import { Slot } from './slot.js';

/** @typedef {import('./membership.js').Peer} Peer */

/**
 * @typedef {object} SlotsSurroundings
 * @property {() => number} now milliseconds
 * @property {(participant: string) => Peer | undefined} member that participant, where it is on the roster
 * @property {(type: string, detail: Record<string, unknown>) => void} emit
 * @property {(slot: Slot, why: string) => void} unverified
 * @property {(why: string) => void} refused
 */

export class Slots {
  #around;
  /** @type {Map<string, Slot>} */
  #slots = new Map();

  /** @param {SlotsSurroundings} around */
  constructor(around) {
    this.#around = around;
  }

  /**
   * The slot of that name, made where it is new.
   * @param {string} id
   * @returns {Slot}
   */
  of(id) {
    let slot = this.#slots.get(id);
    if (!slot) {
      const { emit, ...around } = this.#around;
      slot = new Slot(id, {
        ...around,
        live: ({ participant, stream }) => emit('live', { slot: id, participant, stream }),
        wantKeyFrame: () => emit('want-key-frame', { slot: id }),
      });
      this.#slots.set(id, slot);
    }
    return slot;
  }

  /**
   * A key came from that peer.
   * @param {Peer} peer
   */
  keyed({ participant }) {
    for (const slot of this.#slots.values()) {
      if (slot.participant === participant) slot.keyed();
    }
  }

  /** @param {string} id of a slot whose receiver has ended */
  forget(id) {
    this.#slots.delete(id);
  }

  clear() {
    this.#slots.clear();
  }
}
