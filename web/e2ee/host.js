// What who holds the host link may do: lock, admit, deny, remove. Each is a new host state, signed with the host's key.

import { toBase64Url } from './bytes.js';
import { MAX_LISTED, signHostState } from './host-state.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./door.js').Door} Door */
/** @typedef {import('./host-state.js').HostState} HostState */
/** @typedef {import('./link.js').CallSecrets} CallSecrets */

/** @typedef {{locked: boolean, admitted: Bytes[], removed: Bytes[]}} Lists */

/**
 * @typedef {object} HostSurroundings
 * @property {(milliseconds: number, task: () => Promise<void>) => () => void} later
 * @property {(task: () => Promise<void>) => Promise<void>} run in turn with everything else; rejects as the task does
 * @property {() => Bytes[]} roster the identities of those on it, without ours
 * @property {(participant: string) => Bytes | undefined} identify whoever that connection proved to be
 * @property {(state: HostState) => Promise<void>} publish
 */

export class Host {
  #crypto;
  #secrets;
  #identity;
  #door;
  #around;
  /** @type {HostState | null} what we signed last */
  #last = null;
  /** Whom we removed: a state that another host made without knowing undoes none of it. @type {Map<string, Bytes>} */
  #removals = new Map();
  /** @type {(() => void) | null} */
  #settling = null;
  #settled = false;
  /** Wishes that wait until we have. @type {(() => void)[]} */
  #waiting = [];

  /**
   * @param {Crypto} crypto
   * @param {CallSecrets} secrets
   * @param {Bytes} identity ours
   * @param {Door} door
   * @param {HostSurroundings} around
   */
  constructor(crypto, secrets, identity, door, around) {
    this.#crypto = crypto;
    this.#secrets = secrets;
    this.#identity = identity;
    this.#door = door;
    this.#around = around;
  }

  /** Whether ours is the host link. */
  get able() {
    return this.#secrets.hostKey !== null;
  }

  /** We joined: the state of those who are there is awaited before we say that we are the host. */
  joined() {
    if (!this.able) return;
    this.#settled = false;
    this.#settling?.();
    this.#settling = this.#around.later(SETTLE, () => this.settle());
  }

  /** All who are there have told us their state. */
  async settle() {
    if (!this.#settling) return;
    this.#settling();
    this.#settling = null;
    await this.appear();
    this.#proceed();
  }

  /** Says that we are the host, and nothing else new. */
  async appear() {
    if (this.able) await this.#say(lists => lists);
  }

  /** @param {boolean} on */
  lock(on) {
    return this.#act(lists => {
      if (lists.locked === on) return null;
      return on ? this.#locked(lists) : { ...lists, locked: false, admitted: [] };
    });
  }

  /**
   * Lets in who waits, or whom the server let pass the lock.
   * @param {string} participant
   */
  admit(participant) {
    return this.#act(lists => {
      const identity = this.#identify(participant);
      return lists.locked ? this.#locked(lists, [identity]) : null;
    });
  }

  /**
   * Sends away who waits.
   * @param {string} participant
   */
  deny(participant) {
    return this.#act(lists => {
      const identity = this.#identify(participant);
      return lists.removed.length >= MAX_DENIED ? null : { ...lists, removed: [...lists.removed, identity] };
    });
  }

  /**
   * Shuts out a member, and locks the call: with the link alone it would be back at once.
   * @param {string} participant
   */
  remove(participant) {
    return this.#act(lists => {
      const identity = this.#identify(participant);
      this.#removals.set(toBase64Url(identity), identity);
      return this.#locked({ ...lists, removed: [...lists.removed, identity] });
    });
  }

  /** Makes sure that the state in force names us. */
  claim() {
    return this.#act(lists => (this.#door.names(this.#identity) ? null : lists));
  }

  /**
   * Another host's state came into force. What we did while it did not know of that is done again on top of it. Each
   * such answer makes those who signed at the same time one fewer, so that it ends.
   * @param {HostState} state
   */
  async overtaken(state) {
    if (!this.able || this.#door.names(this.#identity)) return;
    const tied = this.#last?.counter === state.counter ? this.#last : null;
    const removed = union(state.removed, [...this.#removals.values()]);
    const admitted = without(union(state.admitted, tied?.admitted ?? []), removed);
    const again = removed.length > state.removed.length;
    const locked = state.locked || again || (tied?.locked ?? false);
    if (!again && locked === state.locked && admitted.length <= without(state.admitted, removed).length) return;
    await this.#say(() => this.#locked({ locked, admitted, removed }));
  }

  close() {
    this.#settling?.();
    this.#settling = null;
    this.#proceed();
  }

  #proceed() {
    this.#settled = true;
    for (const proceed of this.#waiting.splice(0)) proceed();
  }

  /**
   * Changes the state once ours can be newer than all that is known.
   * @param {(lists: Lists) => Lists | null} change
   */
  async #act(change) {
    if (!this.able) throw new RangeError('only who holds the host link can do this');
    for (let done = false; !done;) {
      if (!this.#settled) await /** @type {Promise<void>} */ (new Promise(resolve => this.#waiting.push(resolve)));
      await this.#around.run(async () => {
        if (!this.#settled) return; // we reconnected meanwhile
        done = true;
        await this.#say(change);
      });
    }
  }

  /** @param {(lists: Lists) => Lists | null} change `null` where nothing is to change */
  async #say(change) {
    const { state, counter } = this.#door;
    const before = { locked: this.#door.locked, admitted: state?.admitted ?? [], removed: state?.removed ?? [] };
    const lists = change(before);
    if (!lists) return;
    const admitted = without(lists.admitted, lists.removed);
    const ruling = { ...lists, admitted, host: this.#identity, counter: counter + 1 };
    this.#last = await signHostState(this.#crypto, this.#secrets, ruling);
    await this.#around.publish(this.#last);
  }

  /**
   * Locked, with all who are in admitted, so that they get back in when they reconnect. Where the list is full, those
   * who are in come before those who were admitted once.
   * @param {Lists} lists
   * @param {Bytes[]} [more] who are admitted now
   * @returns {Lists}
   */
  #locked(lists, more = []) {
    const present = without([this.#identity, ...more, ...this.#around.roster()], lists.removed);
    return { ...lists, locked: true, admitted: union(present, lists.admitted).slice(0, MAX_LISTED) };
  }

  /**
   * @param {string} participant
   * @returns {Bytes}
   */
  #identify(participant) {
    const identity = this.#around.identify(participant);
    if (!identity) throw new RangeError('there is no such participant');
    return identity;
  }
}

/**
 * @param {Bytes[]} a
 * @param {Bytes[]} b
 * @returns {Bytes[]} those of both, each once
 */
function union(a, b) {
  return [...new Map([...a, ...b].map(identity => [toBase64Url(identity), identity])).values()];
}

/**
 * @param {Bytes[]} all
 * @param {Bytes[]} some
 * @returns {Bytes[]}
 */
function without(all, some) {
  const left = new Set(some.map(toBase64Url));
  return all.filter(identity => !left.has(toBase64Url(identity)));
}

/** Milliseconds that a host waits for the others' state before it signs one on top of what it knows. */
const SETTLE = 1_000;

/** Entries up to which those who are denied are listed: the other half of the list is left for members. */
const MAX_DENIED = MAX_LISTED / 2;
