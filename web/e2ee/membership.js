// Who is in the call as far as we could verify: connections that the server announces, peers whose hello held, and
// among them the roster, whose pairwise `ready` opened.

import { toBase64Url } from './bytes.js';
import { metadataPrefix } from './frame.js';
import { ReceiverKeys } from './receiver-key.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./hello.js').Hello} Hello */
/** @typedef {import('./pairwise.js').Pair} Pair */

/** Another participant, by identity; it may come with several connections in turn. */
export class Peer {
  /**
   * @param {Crypto} crypto
   * @param {Bytes} call
   * @param {Hello} hello
   * @param {(milliseconds: number, task: () => void) => unknown} after
   */
  constructor(crypto, call, hello, after) {
    this.identity = hello.identity;
    this.hello = hello;
    this.receiving = new ReceiverKeys(crypto, metadataPrefix(call, hello.identity), after);
    /** @type {Pair | null} */
    this.pair = null;
    /** Whether it opened a `ready` of this connection, so that keys may be sent. */
    this.paired = false;
    /** Whether it opened one before, though it may not come in. */
    this.proved = false;
    /** Whether it says that it can have a tunnel. */
    this.tunnel = false;
    /** Whether it is on the roster: shown, and part of the verification code. */
    this.onRoster = false;
    this.enteredAt = 0;
    this.heardAt = 0;
    /** @type {Bytes | null} the roster that it last told */
    this.digest = null;
    /** @type {number | null} since when that differs from ours */
    this.differsSince = null;
    /** @type {number | null} since when it has had to prove itself again */
    this.unpairedSince = null;
  }

  get participant() {
    return this.hello.participant;
  }

  get name() {
    return this.hello.name;
  }
}

export class Membership {
  /** @type {Set<string>} connections that the server says are in the call */
  #present = new Set();
  /** @type {Map<string, Peer>} by identity */
  #peers = new Map();
  /** @type {Map<string, Peer>} by connection */
  #byParticipant = new Map();
  /** @type {Map<string, {seq: number, final: boolean}>} by identity, those who left included */
  #seen = new Map();

  /**
   * @param {string} participant
   * @returns {boolean} false where there are too many
   */
  announce(participant) {
    if (this.#present.size >= MAX_PARTICIPANTS && !this.#present.has(participant)) return false;
    this.#present.add(participant);
    return true;
  }

  /** @param {string} participant */
  withdraw(participant) {
    this.#present.delete(participant);
  }

  /** @param {string} participant */
  present(participant) {
    return this.#present.has(participant);
  }

  /** @returns {string[]} */
  get connections() {
    return [...this.#present];
  }

  /**
   * Judges an authentic hello against what came before it.
   * @param {string} from the connection that it came over
   * @param {Hello} hello
   * @returns {'new' | 'same' | 'elsewhere' | 'replay' | 'identity'}
   */
  judge(from, hello) {
    if (hello.participant !== from) return 'elsewhere';
    const key = toBase64Url(hello.identity);
    const peer = this.#peers.get(key);
    const holder = this.#byParticipant.get(from);
    if (holder && holder !== peer) return 'identity';
    if (peer && peer.participant === from && peer.hello.seq === hello.seq && sameKey(peer.hello, hello)) return 'same';
    return this.knows(hello.identity, hello.seq) ? 'replay' : 'new';
  }

  /**
   * Takes in a hello that was judged new.
   * @param {Hello} hello
   * @param {() => Peer} create
   * @returns {Peer}
   */
  meet(hello, create) {
    const key = toBase64Url(hello.identity);
    const peer = this.#peers.get(key) ?? create();
    this.#byParticipant.delete(peer.participant);
    peer.hello = hello;
    peer.pair = null;
    peer.paired = false;
    peer.proved = false;
    this.#peers.set(key, peer);
    this.#byParticipant.set(hello.participant, peer);
    this.#remember(key, { seq: hello.seq, final: false });
    return peer;
  }

  /**
   * @param {Peer} peer
   * @param {boolean} final whether its identity may never come back
   */
  forget(peer, final) {
    const key = toBase64Url(peer.identity);
    if (this.#peers.get(key) === peer) this.#peers.delete(key);
    if (this.#byParticipant.get(peer.participant) === peer) this.#byParticipant.delete(peer.participant);
    peer.receiving.erase();
    peer.pair = null;
    peer.paired = false;
    peer.onRoster = false;
    this.#remember(key, { seq: peer.hello.seq, final });
  }

  /**
   * @param {string} participant
   * @returns {Peer | undefined}
   */
  of(participant) {
    return this.#byParticipant.get(participant);
  }

  /**
   * Whether that identity is on the roster.
   * @param {Bytes} identity
   */
  isListed(identity) {
    return this.#peers.get(toBase64Url(identity))?.onRoster ?? false;
  }

  /**
   * Whether that identity said as much before, or may never come back.
   * @param {Bytes} identity
   * @param {number} seq
   */
  knows(identity, seq) {
    const seen = this.#seen.get(toBase64Url(identity));
    return seen !== undefined && (seen.final || seq <= seen.seq);
  }

  /** @returns {Peer[]} */
  get peers() {
    return [...this.#peers.values()];
  }

  /** @returns {Peer[]} */
  get roster() {
    return this.peers.filter(peer => peer.onRoster);
  }

  /**
   * @param {string} key
   * @param {{seq: number, final: boolean}} record
   */
  #remember(key, record) {
    this.#seen.delete(key);
    this.#seen.set(key, record);
    if (this.#seen.size <= MAX_SEEN) return;
    for (const oldest of this.#seen.keys()) {
      if (!this.#peers.has(oldest)) {
        this.#seen.delete(oldest);
        return;
      }
    }
  }
}

/**
 * @param {Hello} a
 * @param {Hello} b
 */
function sameKey(a, b) {
  return toBase64Url(a.key) === toBase64Url(b.key);
}

/** Connections in one call: several times what a relay admits. */
export const MAX_PARTICIPANTS = 1_024;

/**
 * Identities that are remembered, so that an old hello is known again. Only holders of the link can add one; a hello
 * older than the memory is of no use either, since nobody has its key.
 */
const MAX_SEEN = 4_096;
