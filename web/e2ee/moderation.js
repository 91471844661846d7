// What follows from a host state: who is shut out, who is let in, who waits outside, and what the page is told.

import { Door } from './door.js';
import { readEnvelope } from './envelope.js';
import { readHello } from './hello.js';
import { Host } from './host.js';
import { readHostState, supersedes } from './host-state.js';
import { Knocks } from './knocks.js';
import { DISAGREEMENT } from './roster.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./conversation.js').Conversation} Conversation */
/** @typedef {import('./host-state.js').HostState} HostState */
/** @typedef {import('./link.js').CallSecrets} CallSecrets */
/** @typedef {import('./membership.js').Membership} Membership */
/** @typedef {import('./membership.js').Peer} Peer */

/**
 * @typedef {object} ModerationSurroundings
 * @property {Membership} members
 * @property {Conversation} conversation
 * @property {(milliseconds: number, task: () => Promise<void>) => () => void} later
 * @property {(task: () => Promise<void>) => Promise<void>} run in turn with everything else; rejects as the task does
 * @property {(peer: Peer) => Promise<void>} removed it is shut out for good
 * @property {(peer: Peer) => Promise<void>} excluded it came in when we did not know of the lock yet
 * @property {(peer: Peer) => Promise<void>} admitted it proved itself before, and may come in now
 * @property {() => Promise<void>} changed another state is in force
 * @property {() => number} now milliseconds
 * @property {(participant: string) => void} expect it must prove itself from now on
 * @property {(type: string, detail: Record<string, unknown>) => void} emit
 * @property {(participant: string, why: string) => void} unverified
 * @property {(why: string) => void} refused
 */

export class Moderation {
  #crypto;
  #secrets;
  #identity;
  #around;
  #knocks = new Knocks();
  #host;
  #shown = '';
  #removed = false;

  /**
   * @param {Crypto} crypto
   * @param {CallSecrets} secrets
   * @param {Bytes} identity ours
   * @param {Door} door
   * @param {ModerationSurroundings} around
   */
  constructor(crypto, secrets, identity, door, around) {
    this.#crypto = crypto;
    this.#secrets = secrets;
    this.#identity = identity;
    this.door = door;
    this.#around = around;
    this.#host = new Host(crypto, secrets, identity, door, {
      later: around.later,
      run: around.run,
      roster: () => around.members.roster.map(peer => peer.identity),
      identify: participant => this.#identify(participant),
      publish: state => this.#publish(state),
    });
  }

  /** Whether ours is the host link. */
  get isHost() {
    return this.#host.able;
  }

  /** @param {boolean} on */
  lock(on) {
    return this.#host.lock(on);
  }

  /** @param {string} participant */
  admit(participant) {
    return this.#host.admit(participant);
  }

  /** @param {string} participant */
  async deny(participant) {
    await this.#host.deny(participant);
    await this.knockEnded(participant);
  }

  /** @param {string} participant */
  remove(participant) {
    return this.#host.remove(participant);
  }

  /** Asks everyone to turn their microphone off. */
  async muteAll() {
    await this.#host.claim();
    await this.#around.run(() => this.#around.conversation.broadcast('mute', {}));
  }

  /** We joined, or joined again. */
  async joined() {
    this.door.clear();
    for (const { participant } of this.#knocks.all) await this.knockEnded(participant);
    this.show();
    if (this.door.state && this.door.names(this.#identity)) this.#around.conversation.sendHostState(this.door.state);
    this.#host.joined();
  }

  /** All who are there have told us their state. */
  settled() {
    return this.#host.settle();
  }

  /**
   * The server made us wait outside, and says because of which state.
   * @param {string} participant our id
   * @param {unknown} state
   */
  async waiting(participant, state) {
    await this.learn(participant, state);
    await this.#host.appear();
  }

  /**
   * Learns a host state from somebody.
   * @param {string} from
   * @param {unknown} value
   */
  async learn(from, value) {
    if (value === null || value === undefined || this.#isKnown(value)) return;
    const state = await readHostState(this.#crypto, this.#secrets, value);
    if (!state) return this.#around.unverified(from, 'host');
    if (!supersedes(state, this.door.state)) return this.#around.refused('host');
    await this.#apply(state);
    await this.#host.overtaken(state);
  }

  /**
   * A knock, as the server delivered it.
   * @param {string} id the connection that waits
   * @param {unknown} data
   */
  async knocked(id, data) {
    const message = readEnvelope(data);
    if (message?.type !== 'knock') return this.#around.refused('knock');
    const knock = await readHello(this.#crypto, this.#secrets, message.fields, 'knock');
    if (!knock || knock.participant !== id) return this.#around.refused('knock');
    const refusal = this.door.refusal(knock.identity);
    const verdict = this.#around.members.knows(knock.identity, knock.seq) ? 'replay' : this.#knocks.judge(knock);
    if (refusal === 'removed' || verdict === 'same') return this.#around.refused('knock');
    if (verdict !== 'new') return this.#around.refused(`knock-${verdict}`);
    const before = this.#knocks.add(knock);
    if (before !== undefined) this.#around.emit('knock-end', { participant: before });
    this.#around.emit('knock', { participant: id, name: knock.name });
  }

  /** @param {string} participant who waits no longer */
  async knockEnded(participant) {
    if (this.#knocks.end(participant)) this.#around.emit('knock-end', { participant });
  }

  /**
   * Whether a wish that only the host may have was sent by the host.
   * @param {Peer} peer
   */
  isFromHost(peer) {
    return this.door.names(peer.identity);
  }

  /** Tells the page where the host is and what holds, where that is news. */
  show() {
    const { state } = this.door;
    if (!state) return;
    const mine = this.door.names(this.#identity);
    const peer = this.#around.members.roster.find(each => this.door.names(each.identity));
    const present = mine ? (this.#around.conversation.connection?.participant ?? null) : (peer?.participant ?? null);
    const detail = { present, locked: state.locked, counter: state.counter, mine };
    if (JSON.stringify(detail) === this.#shown) return;
    this.#shown = JSON.stringify(detail);
    this.#around.emit('host', detail);
  }

  close() {
    this.#host.close();
  }

  /** @param {HostState} state ours */
  async #publish(state) {
    this.#around.conversation.sendHostState(state);
    this.#around.emit('host-state', { state: state.wire });
    await this.#apply(state);
  }

  /** @param {HostState} state */
  async #apply(state) {
    if (!this.door.take(state)) return;
    const { members, conversation, removed, excluded, admitted, now } = this.#around;
    for (const peer of members.peers) {
      const refusal = this.door.refusal(peer.identity);
      if (refusal === 'removed') await removed(peer);
      else if (refusal === 'locked' && peer.onRoster && now() - peer.enteredAt < RECENT) await excluded(peer);
      else if (refusal === null && peer.proved && !peer.onRoster) await admitted(peer);
    }
    for (const [from, held] of this.door.release()) {
      this.#around.expect(from);
      await conversation.readmit(from, held);
    }
    for (const { participant, identity } of this.#knocks.all) {
      if (this.door.refusal(identity) !== 'locked') await this.knockEnded(participant);
    }
    await this.#around.changed();
    this.show();
    if (this.#removed || this.door.refusal(this.#identity) !== 'removed') return;
    this.#removed = true;
    this.#around.emit('removed', {});
  }

  /**
   * Whether that is the state in force, so that its signature need not be checked again for each who hands it over.
   * @param {unknown} value
   */
  #isKnown(value) {
    const { state } = this.door;
    return state !== null && /** @type {{signature?: unknown}} */ (value).signature === state.wire.signature;
  }

  /**
   * @param {string} participant
   * @returns {Bytes | undefined}
   */
  #identify(participant) {
    const known = this.#around.members.of(participant) ?? this.door.held(participant) ?? this.#knocks.of(participant);
    return known?.identity;
  }
}

/**
 * Milliseconds in which who came in may have done so only because news of the lock had not reached us: it is looked at
 * again. If that takes longer, the others have come to see another roster than we do, and that is shown.
 */
const RECENT = DISAGREEMENT;
