// Who is still there, and whether all see the same roster: `alive` messages, connections that never prove themselves,
// and members that fall silent.

import { fromBase64Url } from './bytes.js';
import { LARGE_CALL, aliveInterval, compareRosters, disagreeing, rosterDigest, silent } from './roster.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./membership.js').Membership} Membership */
/** @typedef {import('./membership.js').Peer} Peer */

/**
 * @typedef {object} PresenceSurroundings
 * @property {() => number} now milliseconds
 * @property {(milliseconds: number, task: () => Promise<void>) => () => void} later
 * @property {Membership} membership
 * @property {() => number} counter of the host state, 0 until there is one
 * @property {(digest: Bytes) => Promise<void>} say tells the others our roster
 * @property {(peer: Peer) => Promise<void>} gone
 * @property {(peers: Peer[]) => void} disagree whenever those who disagree are others than before
 * @property {(participant: string, why: string) => void} unverified
 */

export class Presence {
  #crypto;
  #call;
  #identity;
  #around;
  /** Connections that have yet to prove themselves, since when. @type {Map<string, number>} */
  #expected = new Map();
  /** @type {Bytes | null} */
  #digest = null;
  #saidAt = -Infinity;
  #disagreeing = '';
  /** @type {(() => void) | null} */
  #ticking = null;
  /** @type {(() => void) | null} */
  #soon = null;

  /**
   * @param {Crypto} crypto
   * @param {Bytes} call
   * @param {Bytes} identity ours
   * @param {PresenceSurroundings} around
   */
  constructor(crypto, call, identity, around) {
    this.#crypto = crypto;
    this.#call = call;
    this.#identity = identity;
    this.#around = around;
  }

  start() {
    this.#ticking ??= this.#around.later(TICK, () => this.#tick());
  }

  close() {
    this.#ticking?.();
    this.#soon?.();
  }

  /**
   * A connection must prove itself from now on.
   * @param {string} participant
   */
  expect(participant) {
    this.#expected.set(participant, this.#around.now());
  }

  /**
   * It did, or is gone.
   * @param {string} participant
   */
  dismiss(participant) {
    this.#expected.delete(participant);
  }

  /** Whether any connection has yet to prove itself. */
  get expecting() {
    return this.#expected.size > 0;
  }

  /** Also when the host state changed: all who see one roster see one state. */
  async rosterChanged() {
    const { roster } = this.#around.membership;
    const identities = [...roster.map(peer => peer.identity), this.#identity];
    this.#digest = await rosterDigest(this.#crypto, this.#call, identities, this.#around.counter());
    this.#compare();
    this.#soon ??= this.#around.later(this.#members > LARGE_CALL ? SOON_LARGE : SOON, () => this.say());
  }

  /** Tells the others our roster now. */
  async say() {
    this.#soon?.();
    this.#soon = null;
    this.#saidAt = this.#around.now();
    if (this.#digest) await this.#around.say(this.#digest);
  }

  /**
   * @param {Peer} peer
   * @param {unknown} roster as it came
   */
  heard(peer, roster) {
    peer.digest = fromBase64Url(roster, 32) ?? NO_ROSTER;
    this.#compare();
  }

  get #members() {
    return this.#around.membership.roster.length + 1;
  }

  #compare() {
    if (this.#digest) compareRosters(this.#around.membership.roster, this.#digest, this.#around.now());
  }

  async #tick() {
    this.#ticking = this.#around.later(TICK, () => this.#tick());
    this.#showUnproven();
    await this.#dropLost();
    this.#showDisagreement();
    if (this.#around.now() - this.#saidAt >= aliveInterval(this.#members)) await this.say();
  }

  #showUnproven() {
    const { membership, now, unverified } = this.#around;
    for (const [participant, since] of this.#expected) {
      if (now() - since < PROOF) continue;
      this.#expected.delete(participant);
      unverified(participant, membership.of(participant) ? 'ready' : 'silent');
    }
  }

  async #dropLost() {
    const { membership, now, gone } = this.#around;
    const lost = new Set(silent(membership.roster, now(), this.#members));
    for (const peer of membership.roster) {
      peer.unpairedSince = peer.paired ? null : (peer.unpairedSince ?? now());
      if (peer.unpairedSince !== null && now() - peer.unpairedSince >= RETURN) lost.add(peer);
    }
    for (const peer of lost) await gone(peer);
  }

  #showDisagreement() {
    const peers = disagreeing(this.#around.membership.roster, this.#around.now());
    const key = peers.map(peer => peer.participant).sort().join(' ');
    if (key === this.#disagreeing) return;
    this.#disagreeing = key;
    this.#around.disagree(peers);
  }
}

/** Milliseconds between two looks at the clock: what must be seen within seconds is seen within one more. */
const TICK = 1_000;

/** Milliseconds after a change of the roster in which more may follow before the others are told. */
const SOON = 250;

/** The same in a large call, where everyone telling everyone weighs more. */
const SOON_LARGE = 1_000;

/** Milliseconds in which a connection must prove itself before it is shown as one that cannot be verified. */
const PROOF = 5_000;

/** Milliseconds in which a member must prove itself again after either side reconnected. */
const RETURN = 10_000;

/** What a member tells who tells no roster: it agrees with nobody. */
const NO_ROSTER = new Uint8Array(32);
