// Slots: the m-lines on which we receive, whose sender a message changes. A slot shows nothing until its new owner's
// first authenticated frame, so that nobody ever appears under another's name.

/**
 * @typedef {object} Slot
 * @property {string} key What the decrypting side calls this slot; ours, fixed before the m-line has a MID.
 * @property {MediaStreamTrack} track
 * @property {() => string | null} mid
 * @property {number} epoch Of the last assignment or release that was heard of; 0 before the first.
 * @property {Owner | undefined} owner
 * @property {boolean} live Whether the owner's first authenticated frame has come.
 *
 * @typedef {{participant: string, stream: import('./transport.js').Source}} Owner
 * @typedef {object} Hooks
 * @property {(key: string, epoch: number, participant: string, stream: Owner['stream']) => Promise<unknown>} point
 * @property {(key: string) => Promise<unknown>} blank
 * @property {(slot: string, epoch: number) => void} acknowledge
 * @property {(owner: Owner, track: MediaStreamTrack | null) => void} show Null takes the picture or sound away; the
 *   same one again says that it can be trusted again.
 * @property {(error: unknown) => void} fail
 */

export class Slots {
  /** @type {Slot[]} */ #slots = [];
  #hooks;

  /** @param {Hooks} hooks */
  constructor(hooks) {
    this.#hooks = hooks;
  }

  /**
   * @param {string} key
   * @param {MediaStreamTrack} track
   * @param {() => string | null} mid
   */
  add(key, track, mid) {
    track.enabled = false;
    this.#slots.push({ key, track, mid, epoch: 0, owner: undefined, live: false });
  }

  /**
   * The relay wants a slot to carry a publication: empty it, point its decryption there, and only then say so.
   * @param {{slot: string, epoch: number} & Owner} message
   */
  async assign({ slot: mid, epoch, participant, stream }) {
    const slot = this.#at(mid);
    if (!slot || epoch <= slot.epoch) return;
    this.#clear(slot);
    slot.epoch = epoch;
    slot.owner = { participant, stream };
    try {
      await this.#hooks.point(slot.key, epoch, participant, stream);
    } catch (error) {
      return this.#hooks.fail(error);
    }
    if (slot.owner && slot.epoch === epoch) this.#hooks.acknowledge(mid, epoch);
  }

  /**
   * @param {{slot: string, epoch: number}} message
   */
  async release({ slot: mid, epoch }) {
    const slot = this.#at(mid);
    // A release may carry the epoch that it ends, or a later one.
    if (!slot || epoch < slot.epoch) return;
    slot.epoch = epoch;
    await this.#empty(slot);
  }

  /**
   * The first frame that authenticated since the slot was pointed, or since others had not.
   * @param {{slot: string, participant: string, stream: string}} frame
   */
  authenticated({ slot: key, participant, stream }) {
    const slot = this.#slots.find((each) => each.key === key);
    if (!slot?.owner) return;
    if (slot.owner.participant !== participant || slot.owner.stream !== stream) return;
    slot.live = true;
    slot.track.enabled = true;
    this.#hooks.show(slot.owner, slot.track);
  }

  /**
   * Someone left, or stopped publishing: their slots go dark at once, whatever the relay says later.
   * @param {string} participant
   * @param {string} [stream] All of theirs where absent.
   */
  async forget(participant, stream) {
    const theirs = this.#slots.filter(({ owner }) =>
      owner?.participant === participant && (stream === undefined || owner.stream === stream));
    await Promise.all(theirs.map((slot) => this.#empty(slot)));
  }

  /** The connection is gone. */
  clear() {
    for (const slot of this.#slots) this.#clear(slot);
    this.#slots.length = 0;
  }

  /** @param {Slot} slot */
  async #empty(slot) {
    this.#clear(slot);
    try {
      await this.#hooks.blank(slot.key);
    } catch (error) {
      this.#hooks.fail(error);
    }
  }

  /** @param {Slot} slot */
  #clear(slot) {
    const { owner, live } = slot;
    slot.owner = undefined;
    slot.live = false;
    slot.track.enabled = false;
    if (owner && live) this.#hooks.show(owner, null);
  }

  /** @param {string} mid */
  #at(mid) {
    return this.#slots.find((slot) => slot.mid() === mid);
  }
}
