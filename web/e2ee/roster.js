// Whether all members see the same roster: what each tells the others, how often, and for how long it may differ.

import { compare, covered, u64 } from './bytes.js';
import { sha256 } from './derive.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./membership.js').Peer} Peer */

/**
 * @param {Crypto} crypto
 * @param {Bytes} call
 * @param {Bytes[]} identities everyone's, one's own included
 * @param {number} counter of the host state
 * @returns {Promise<Bytes>} 32 bytes
 */
export function rosterDigest(crypto, call, identities, counter) {
  return sha256(crypto, covered('alive', call, ...[...identities].sort(compare), u64(counter)));
}

/**
 * Milliseconds between two `alive`.
 * @param {number} members one's own included
 * @returns {number}
 */
export function aliveInterval(members) {
  return members > LARGE_CALL ? members * 200 : 10_000;
}

/**
 * Milliseconds within which changes of the roster are one change of keys.
 * @param {number} members one's own included
 * @returns {number}
 */
export function changeWindow(members) {
  return members > LARGE_CALL ? 5_000 : 1_000;
}

/**
 * Notes for each peer since when it tells another roster than ours.
 * @param {Peer[]} peers
 * @param {Bytes} ours
 * @param {number} now
 */
export function compareRosters(peers, ours, now) {
  for (const peer of peers) {
    const same = !peer.digest || compare(peer.digest, ours) === 0;
    peer.differsSince = same ? null : (peer.differsSince ?? now);
  }
}

/**
 * @param {Peer[]} peers
 * @param {number} now
 * @returns {Peer[]} those whose roster has differed for too long to be a matter of timing
 */
export function disagreeing(peers, now) {
  return peers.filter(peer => peer.differsSince !== null && now - peer.differsSince >= DISAGREEMENT);
}

/**
 * @param {Peer[]} peers on the roster
 * @param {number} now
 * @param {number} members one's own included
 * @returns {Peer[]} those from whom nothing came for three intervals
 */
export function silent(peers, now, members) {
  return peers.filter(peer => now - peer.heardAt > SILENT_INTERVALS * aliveInterval(members));
}

/** Milliseconds for which rosters may differ while news of one change is under way. */
export const DISAGREEMENT = 5_000;

/** Intervals without a message after which a member has left. */
const SILENT_INTERVALS = 3;

/** Members above which everyone telling everyone is spread out. */
export const LARGE_CALL = 50;
