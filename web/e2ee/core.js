// The encryption of one call as a state machine: told what the server says, what others send and which frames come,
// it answers with messages to send, frames and events. Time and randomness are given to it.

import { fromBase64Url, toBase64Url } from './bytes.js';
import { CodeDisplay } from './code-display.js';
import { Connection, Conversation, fitsTunnel, isPath } from './conversation.js';
import { newKeyPair } from './derive.js';
import { Door } from './door.js';
import { readEnvelope } from './envelope.js';
import { STREAMS, metadataPrefix } from './frame.js';
import { tidyName } from './hello.js';
import { Hints } from './hint.js';
import { joinFields, openLink } from './link.js';
import { Membership, Peer } from './membership.js';
import { checkMessage } from './messages.js';
import { Moderation } from './moderation.js';
import { Notices } from './notices.js';
import { Presence } from './presence.js';
import { Queue } from './queue.js';
import { Rekeying } from './rekey.js';
import { changeWindow } from './roster.js';
import { SenderKeys } from './sender-key.js';
import { Slots } from './slots.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./conversation.js').Meanings} Meanings */
/** @typedef {import('./conversation.js').Ourselves} Ourselves */
/** @typedef {import('./conversation.js').Path} Path */
/** @typedef {import('./frame.js').Stream} Stream */
/** @typedef {import('./frame.js').FrameCodec} FrameCodec */
/** @typedef {import('./link.js').CallSecrets} CallSecrets */
/** @typedef {import('./slot.js').Slot} Slot */

/**
 * @typedef {object} Environment
 * @property {Crypto} crypto WebCrypto, also the source of randomness
 * @property {() => number} now milliseconds on a clock that never steps back
 * @property {(milliseconds: number, task: () => void) => () => void} after runs a task later; returns its cancel
 * @property {(type: string, detail: Record<string, unknown>) => void} emit
 */

export class Core {
  #environment;
  #crypto;
  #secrets;
  #identity;
  #tunnels;
  #keys;
  #conversation;
  #rekeying;
  #presence;
  #hints;
  #code;
  #queue = new Queue();
  #members = new Membership();
  #slots;
  #seq = 0;
  /** What newcomers must be told too. @type {unknown} */
  #state = null;
  #notices;
  #closed = false;

  /**
   * @param {Environment} environment
   * @param {string} link host or invite link
   * @param {string} name as the others will see it
   * @param {{tunnel?: boolean}} [options] whether we can have a direct connection
   * @returns {Promise<Core>}
   * @throws {RangeError} where the link is not complete
   */
  static async open(environment, link, name, { tunnel = false } = {}) {
    const { crypto } = environment;
    const secrets = await openLink(crypto, link);
    const identity = await newKeyPair(crypto, 'Ed25519');
    return new Core(environment, secrets, { identity, name: tidyName(name), tunnel });
  }

  /**
   * @param {Environment} environment
   * @param {CallSecrets} secrets
   * @param {Ourselves} ourselves
   */
  constructor(environment, secrets, ourselves) {
    const { crypto, now } = environment;
    const { identity } = ourselves;
    const door = new Door();
    const notices = new Notices({
      nameOf: participant => (this.#members.of(participant) ?? door.held(participant))?.name ?? '',
      show: detail => this.#emit('unverified', detail),
    });
    /** @type {(milliseconds: number, task: () => Promise<void>) => () => void} */
    const later = (milliseconds, task) => this.#later(milliseconds, task);
    this.#environment = environment;
    this.#crypto = crypto;
    this.#secrets = secrets;
    this.#identity = identity;
    this.#tunnels = ourselves.tunnel;
    this.#notices = notices;
    this.#keys = new SenderKeys(crypto, metadataPrefix(secrets.call, identity.publicKey));
    this.#conversation = new Conversation(
      crypto, secrets, ourselves, this.#keys, this.#members, door, this.#meanings(),
    );
    /** What the host may do, and what follows from it. */
    this.moderation = new Moderation(crypto, secrets, identity.publicKey, door, {
      members: this.#members,
      conversation: this.#conversation,
      now,
      later,
      run: task => this.#queue.run(task),
      removed: peer => this.#depart(peer, { final: true, removed: true }),
      excluded: peer => this.#exclude(peer),
      admitted: peer => this.#welcome(peer),
      changed: () => this.#rosterChanged(false),
      emit: (type, detail) => this.#emit(type, detail),
      expect: participant => this.#presence.expect(participant),
      unverified: (participant, why) => this.#unverified(participant, why),
      refused: why => notices.count(why),
    });
    this.#rekeying = new Rekeying(this.#keys, {
      now,
      later,
      window: () => changeWindow(this.#members.roster.length + 1),
      members: () => this.#members.roster,
      deliver: async (peer, key) => {
        if (peer.paired && peer.onRoster) await this.#conversation.sendKey(peer, key);
      },
      changed: switched => this.#keyChanged(switched),
    });
    this.#presence = new Presence(crypto, secrets.call, identity.publicKey, {
      now,
      later,
      membership: this.#members,
      counter: () => door.counter,
      say: digest => this.#conversation.broadcast('alive', { roster: toBase64Url(digest) }),
      gone: peer => this.#depart(peer, {}),
      disagree: peers => this.#emit('disagreement', { participants: peers.map(named) }),
      unverified: (participant, why) => this.#unverified(participant, why),
    });
    this.#hints = new Hints({ now, later, say: body => this.#conversation.broadcast('speaking', body) });
    this.#slots = new Slots({
      now,
      member: participant => this.#member(participant),
      emit: (type, detail) => this.#emit(type, detail),
      unverified: (failing, why) => notices.unverifiedFrames(failing, why),
      refused: why => notices.count(why),
    });
    this.#code = new CodeDisplay(crypto, secrets.call, {
      identities: () => [...this.#members.roster.map(peer => peer.identity), identity.publicKey],
      show: detail => this.#emit('code', detail),
    });
  }

  /** Messages and frames that were refused, by reason. */
  get counters() {
    return this.#notices.counters;
  }

  get call() {
    return toBase64Url(this.#secrets.call);
  }

  get identity() {
    return toBase64Url(this.#identity.publicKey);
  }

  /**
   * The fields of a `join` message.
   * @param {string} nonce the server's, base64url
   * @param {string} hostName of the page
   * @returns {Promise<Record<string, string>>}
   * @throws {RangeError} where the nonce is none
   */
  async admission(nonce, hostName) {
    const bytes = fromBase64Url(nonce, 32);
    if (!bytes) throw new RangeError('the nonce is not 32 bytes');
    return joinFields(this.#crypto, this.#secrets, this.#identity, bytes, hostName);
  }

  /**
   * The call is locked, and the server makes us wait outside.
   * @param {string} participant our id
   * @param {unknown} state the host state that says so
   */
  waiting(participant, state) {
    return this.#queue.add(() => {
      this.#conversation.connection = null;
      return this.moderation.waiting(participant, state);
    });
  }

  /**
   * What to say to those inside, while we wait.
   * @param {string} participant our id
   * @returns {Promise<string>} the data of a `knock`
   */
  knock(participant) {
    return this.#conversation.knock(participant, ++this.#seq);
  }

  /**
   * Somebody waits outside, says the server.
   * @param {string} participant
   * @param {unknown} data as it said it
   */
  knocked(participant, data) {
    const offered = this.#queue.offer(`knock ${participant}`, () => this.moderation.knocked(participant, data));
    if (!offered) this.#notices.count('flood');
  }

  /** @param {string} participant who waits no longer */
  knockEnded(participant) {
    return this.#queue.add(() => this.moderation.knockEnded(participant));
  }

  /**
   * We joined, or joined again over a new connection.
   * @param {string} participant our id in this connection
   * @param {string[]} others
   */
  joined(participant, others) {
    return this.#queue.add(() => this.#onJoined(participant, others.slice()));
  }

  /** @param {string} participant */
  arrived(participant) {
    return this.#queue.add(() => {
      if (!this.#members.announce(participant)) this.#notices.count('crowd');
      else this.#presence.expect(participant);
    });
  }

  /** @param {string} participant */
  departed(participant) {
    return this.#queue.add(() => this.#onDeparted(participant));
  }

  /**
   * A message from another participant, as the server delivered it.
   * @param {string} from
   * @param {unknown} data
   */
  receive(from, data) {
    const message = readEnvelope(data);
    if (typeof from !== 'string' || !message || this.#closed) this.#notices.count('malformed');
    else if (!this.#queue.offer(from, () => this.#onMessage(from, message))) this.#notices.count('flood');
  }

  /**
   * Sends a message to everyone on the roster.
   * @param {string} kind one of `KINDS`
   * @param {unknown} body
   * @returns {Promise<void>} once it is on its way
   * @throws {RangeError} where the kind is unknown or the body is too large or of the wrong form
   */
  async send(kind, body) {
    if (kind === 'mute') throw new RangeError('only the host asks for that, and by another way');
    checkMessage(kind, body);
    if (kind === 'speaking') {
      this.#hints.set(body);
      return;
    }
    if (kind === 'state') this.#state = body;
    await this.#queue.add(() => this.#conversation.broadcast(kind, body));
  }

  /**
   * Sends the description of a direct connection; only while there are two of us.
   * @param {string} participant
   * @param {unknown} description
   * @returns {Promise<boolean>} whether it was sent
   */
  async tunnel(participant, description) {
    let sent = false;
    await this.#queue.add(async () => {
      const peer = this.#members.of(participant);
      if (!peer || !this.#tunnelWith(peer) || !fitsTunnel(description)) return;
      await this.#conversation.sendTunnel(peer, description);
      sent = true;
    });
    return sent;
  }

  /**
   * Tells somebody on the roster that we no longer need one of the two paths from them.
   * @param {string} participant
   * @param {Path} path
   * @returns {Promise<boolean>} whether it was sent
   */
  async tunnelOver(participant, path) {
    let sent = false;
    await this.#queue.add(async () => {
      const peer = this.#members.of(participant);
      if (!peer?.onRoster || !peer.paired || !isPath(path)) return;
      await this.#conversation.sendTunnelOver(peer, path);
      sent = true;
    });
    return sent;
  }

  /**
   * Protects a frame of ours.
   * @param {Stream} stream
   * @param {FrameCodec} codec
   * @param {Bytes} frame
   * @returns {Promise<Bytes | null>} `null` where it must not be sent
   */
  async protect(stream, codec, frame) {
    if (this.#closed) return null;
    const sealed = await this.#keys.protectFrame(STREAMS[stream], codec, frame);
    if (!sealed) this.#notices.count('short');
    return sealed;
  }

  /**
   * The slot of that name, made where it is new.
   * @param {string} id
   * @returns {Slot}
   */
  slot(id) {
    return this.#slots.of(id);
  }

  /**
   * Forgets a slot whose receiver has ended.
   * @param {string} id
   */
  forgetSlot(id) {
    this.#slots.forget(id);
  }

  /** Says goodbye, for good, and erases the keys. */
  async close() {
    await this.#queue.add(async () => {
      if (this.#closed) return;
      await this.#conversation.sendBye();
      this.#closed = true;
      this.#conversation.connection = null;
      this.#presence.close();
      this.#hints.close();
      this.#rekeying.close();
      this.moderation.close();
      for (const peer of this.#members.peers) this.#members.forget(peer, true);
      this.#slots.clear();
      this.#secrets.psk.fill(0);
    });
  }

  /** Resolves when all that was given so far has been worked through. */
  async idle() {
    await this.#queue.idle();
    await this.#code.idle();
  }

  // Connections.

  /**
   * @param {string} participant
   * @param {string[]} others
   */
  async #onJoined(participant, others) {
    const key = await newKeyPair(this.#crypto, 'X25519');
    this.#conversation.connection = new Connection(key, participant, ++this.#seq, others);
    this.#notices.clear();
    this.#rekeying.restart();
    await this.#replaceConnections(others);
    if (others.length > 0) this.#rekeying.settle(SETTLE);
    this.#presence.start();
    await this.moderation.joined();
    await this.#conversation.sendHello(undefined);
    if (others.length === 0) await this.moderation.settled();
  }

  /** @param {string[]} others */
  async #replaceConnections(others) {
    const there = new Set(others);
    for (const gone of this.#members.connections.filter(id => !there.has(id))) await this.#onDeparted(gone);
    for (const id of there) {
      if (this.#members.announce(id)) this.#presence.expect(id);
      else this.#notices.count('crowd');
    }
    for (const peer of this.#members.peers) {
      peer.pair = null;
      peer.paired = false;
      peer.proved = false;
    }
  }

  /** @param {string} participant */
  async #onDeparted(participant) {
    this.#members.withdraw(participant);
    this.#presence.dismiss(participant);
    this.#conversation.connection?.greeted.delete(participant);
    this.moderation.door.forget(participant);
    this.#notices.forget(participant);
    const peer = this.#members.of(participant);
    if (peer) await this.#depart(peer, {});
  }

  /**
   * @param {Peer} peer
   * @param {{final?: boolean, removed?: boolean}} how
   */
  async #depart(peer, { final = false, removed = false }) {
    const wasOnRoster = peer.onRoster;
    this.#members.forget(peer, final);
    this.#presence.dismiss(peer.participant);
    if (!wasOnRoster) return;
    this.#code.note(removed ? 'removed' : 'left', peer.name);
    await this.#rosterChanged();
    await this.#rekeying.departed(peer, removed);
  }

  /**
   * Takes off the roster who may not be there, until the host lets it in.
   * @param {Peer} peer
   */
  async #exclude(peer) {
    peer.onRoster = false;
    peer.proved = true;
    this.#unverified(peer.participant, 'locked');
    this.#code.note('left', peer.name);
    await this.#rosterChanged();
    await this.#rekeying.departed(peer, true);
  }

  /** @param {Peer} peer that opened a `ready`, and may come in */
  async #welcome(peer) {
    peer.proved = false;
    peer.paired = true;
    peer.heardAt = this.#environment.now();
    if (peer.onRoster) {
      this.#showRoster();
      await this.#rekeying.returned(peer);
    } else {
      await this.#enter(peer);
    }
  }

  /** @param {Peer} peer */
  async #enter(peer) {
    peer.onRoster = true;
    peer.enteredAt = this.#environment.now();
    this.#code.note('joined', peer.name);
    await this.#rosterChanged();
    await this.#rekeying.entered(peer);
  }

  /** @param {boolean} [people] false where only what the host says of them is other */
  async #rosterChanged(people = true) {
    this.#showRoster();
    await this.#presence.rosterChanged();
    if (people) this.#code.changed();
  }

  #showRoster() {
    const participants = this.#members.roster.map(peer => (
      { ...named(peer), tunnel: peer.tunnel, host: this.moderation.isFromHost(peer) }
    ));
    this.#emit('roster', { participants });
    this.moderation.show();
  }

  // Messages.

  /** @returns {Meanings} */
  #meanings() {
    return {
      send: (to, data) => this.#emit('send', { to, data }),
      meet: hello => this.#members.meet(
        hello, () => new Peer(this.#crypto, this.#secrets.call, hello, this.#environment.after),
      ),
      ready: (peer, body) => this.#onReady(peer, body),
      keyed: peer => this.#slots.keyed(peer),
      acknowledged: (peer, generation, step) => this.#rekeying.acknowledged(peer, generation, step),
      tunnel: (peer, description) => this.#onTunnel(peer, description),
      over: ({ participant }, path) => this.#emit('tunnel-over', { participant, path }),
      hostState: (from, state) => this.moderation.learn(from, state),
      message: (peer, kind, body) => this.#onSaid(peer, kind, body),
      bye: peer => this.#depart(peer, { final: true }),
      unverified: (participant, why) => this.#unverified(participant, why),
      refused: why => this.#notices.count(why),
    };
  }

  /**
   * @param {string} from
   * @param {{type: string, fields: Record<string, unknown>}} message
   */
  async #onMessage(from, { type, fields }) {
    if (!this.#closed) await this.#conversation.receive(from, type, fields);
  }

  /**
   * @param {Peer} peer
   * @param {Record<string, unknown>} body
   */
  async #onReady(peer, { tunnel, host }) {
    if (peer.paired) return;
    this.#presence.dismiss(peer.participant);
    await this.moderation.learn(peer.participant, host);
    if (this.#members.of(peer.participant) !== peer) return;
    peer.tunnel = tunnel === true;
    if (peer.onRoster || this.moderation.door.refusal(peer.identity) === null) {
      await this.#welcome(peer);
    } else {
      peer.proved = true;
      this.#unverified(peer.participant, 'locked');
    }
    if (this.#presence.expecting) return;
    await this.#rekeying.settledEarly();
    await this.moderation.settled();
  }

  /**
   * @param {Peer} peer
   * @param {unknown} description
   */
  #onTunnel(peer, description) {
    if (!this.#tunnelWith(peer) || typeof description !== 'string') this.#notices.count('tunnel');
    else this.#emit('tunnel', { participant: peer.participant, description });
  }

  /**
   * @param {Peer} peer
   * @param {string} kind
   * @param {any} body
   */
  #onSaid(peer, kind, body) {
    peer.heardAt = this.#environment.now();
    if (kind === 'alive') this.#presence.heard(peer, body?.roster);
    else if (kind === 'mute' && !this.moderation.isFromHost(peer)) this.#notices.count('mute');
    else this.#emit('message', { participant: peer.participant, name: peer.name, kind, body });
  }

  /** @param {boolean} switched whether to another generation */
  async #keyChanged(switched) {
    if (switched) this.#emit('keyframe', {});
    if (this.#state !== null) await this.#conversation.broadcast('state', this.#state);
    await this.#presence.say();
  }

  // What is shown.

  /**
   * @param {string} participant
   * @param {string} why
   */
  #unverified(participant, why) {
    if (why === 'locked' || why === 'removed') this.#presence.dismiss(participant);
    this.#notices.unverified(participant, why);
  }

  /** @param {string} participant */
  #member(participant) {
    const peer = this.#members.of(participant);
    return peer?.onRoster ? peer : undefined;
  }

  /**
   * Whether a tunnel to that peer may be spoken of: both can have one, and nobody else is on the roster.
   * @param {Peer} peer
   */
  #tunnelWith(peer) {
    const { roster } = this.#members;
    return this.#tunnels && peer.tunnel && peer.paired && roster.length === 1 && roster[0] === peer;
  }

  /**
   * @param {number} milliseconds
   * @param {() => Promise<void>} task
   */
  #later(milliseconds, task) {
    let cancelled = false;
    const cancel = this.#environment.after(milliseconds, () => {
      void this.#queue.add(() => (cancelled ? undefined : task()));
    });
    return () => {
      cancelled = true;
      cancel();
    };
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} detail
   */
  #emit(type, detail) {
    if (!this.#closed) this.#environment.emit(type, detail);
  }
}

/** @param {Peer} peer */
function named({ participant, name }) {
  return { id: participant, name };
}

/** Milliseconds that a joiner gives those who were there before its first key goes out. */
const SETTLE = 500;
