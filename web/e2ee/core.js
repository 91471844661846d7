// The encryption of one call as a state machine: told what the server says, what others send and which frames come,
// it answers with messages to send, frames and events. Time and randomness are given to it.

import { fromBase64Url, toBase64Url } from './bytes.js';
import { verificationCode } from './code.js';
import { Connection, Conversation, fitsTunnel } from './conversation.js';
import { readEnvelope } from './envelope.js';
import { STREAMS, metadataPrefix } from './frame.js';
import { tidyName } from './hello.js';
import { Hints } from './hint.js';
import { openLink, signJoin } from './link.js';
import { Membership, Peer } from './membership.js';
import { checkMessage } from './messages.js';
import { Presence } from './presence.js';
import { Queue } from './queue.js';
import { Rekeying } from './rekey.js';
import { changeWindow } from './roster.js';
import { SenderKeys } from './sender-key.js';
import { Slot } from './slot.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./conversation.js').KeyPair} KeyPair */
/** @typedef {import('./conversation.js').Meanings} Meanings */
/** @typedef {import('./frame.js').Stream} Stream */
/** @typedef {import('./frame.js').FrameCodec} FrameCodec */
/** @typedef {import('./link.js').CallSecrets} CallSecrets */

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
  #keys;
  #conversation;
  #rekeying;
  #presence;
  #hints;
  #queue = new Queue();
  #members = new Membership();
  /** @type {Map<string, Slot>} */
  #slots = new Map();
  #seq = 0;
  /** What was shown already, of those who are present. @type {Set<string>} */
  #shown = new Set();
  /** What newcomers must be told too. @type {unknown} */
  #state = null;
  /** Who came and went since the last code. @type {{joined: string[], left: string[]}} */
  #news = { joined: [], left: [] };
  #codes = 0;
  /** @type {Promise<void> | null} */
  #coding = null;
  #closed = false;
  /** Messages and frames that were refused, by reason. @type {Record<string, number>} */
  counters = {};

  /**
   * @param {Environment} environment
   * @param {string} link host or invite link
   * @param {string} name as the others will see it
   * @returns {Promise<Core>}
   * @throws {RangeError} where the link is not complete
   */
  static async open(environment, link, name) {
    const { crypto } = environment;
    const secrets = await openLink(crypto, link);
    const pair = /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']));
    return new Core(environment, secrets, await readable(crypto, pair), tidyName(name));
  }

  /**
   * @param {Environment} environment
   * @param {CallSecrets} secrets
   * @param {KeyPair} identity
   * @param {string} name
   */
  constructor(environment, secrets, identity, name) {
    const { crypto, now } = environment;
    /** @type {(milliseconds: number, task: () => Promise<void>) => () => void} */
    const later = (milliseconds, task) => this.#later(milliseconds, task);
    this.#environment = environment;
    this.#crypto = crypto;
    this.#secrets = secrets;
    this.#identity = identity;
    this.#keys = new SenderKeys(crypto, metadataPrefix(secrets.call, identity.publicKey));
    this.#conversation = new Conversation(
      crypto, secrets, identity, name, this.#keys, this.#members, this.#meanings(),
    );
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
      say: digest => this.#conversation.broadcast('alive', { roster: toBase64Url(digest) }),
      gone: peer => this.#depart(peer, false),
      disagree: peers => this.#emit('disagreement', { participants: peers.map(listed) }),
      unverified: (participant, why) => this.#unverified(participant, why),
    });
    this.#hints = new Hints({ now, later, say: body => this.#conversation.broadcast('speaking', body) });
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
   * @throws {RangeError} where the nonce is none
   */
  async admission(nonce, hostName) {
    const bytes = fromBase64Url(nonce, 32);
    if (!bytes) throw new RangeError('the nonce is not 32 bytes');
    const signature = await signJoin(this.#crypto, this.#secrets, bytes, hostName, this.#identity.publicKey);
    return {
      call: this.call,
      admission: toBase64Url(this.#secrets.admission),
      host: toBase64Url(this.#secrets.host),
      identity: this.identity,
      signature: toBase64Url(signature),
    };
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
      if (!this.#members.announce(participant)) this.#count('crowd');
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
    if (typeof from !== 'string' || !message || this.#closed) this.#count('malformed');
    else if (!this.#queue.offer(from, () => this.#onMessage(from, message))) this.#count('flood');
  }

  /**
   * Sends a message to everyone on the roster.
   * @param {string} kind one of `KINDS`
   * @param {unknown} body
   * @returns {Promise<void>} once it is on its way
   * @throws {RangeError} where the kind is unknown or the body is too large or of the wrong form
   */
  async send(kind, body) {
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
      if (!peer || !this.#alone(peer) || !fitsTunnel(description)) return;
      await this.#conversation.sendTunnel(peer, description);
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
    if (!sealed) this.#count('short');
    return sealed;
  }

  /**
   * The slot of that name, made where it is new.
   * @param {string} id
   * @returns {Slot}
   */
  slot(id) {
    let slot = this.#slots.get(id);
    if (!slot) {
      slot = new Slot(id, {
        now: this.#environment.now,
        member: participant => this.#member(participant),
        live: ({ participant, stream }) => this.#emit('live', { slot: id, participant, stream }),
        unverified: (failing, why) => this.#unverifiedFrames(failing, why),
        wantKeyFrame: () => this.#emit('want-key-frame', { slot: id }),
        refused: why => this.#count(why),
      });
      this.#slots.set(id, slot);
    }
    return slot;
  }

  /**
   * Forgets a slot whose receiver has ended.
   * @param {string} id
   */
  forgetSlot(id) {
    this.#slots.delete(id);
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
      for (const peer of this.#members.peers) this.#members.forget(peer, true);
      this.#slots.clear();
      this.#secrets.psk.fill(0);
    });
  }

  /** Resolves when all that was given so far has been worked through. */
  async idle() {
    await this.#queue.idle();
    await this.#coding;
  }

  // Connections.

  /**
   * @param {string} participant
   * @param {string[]} others
   */
  async #onJoined(participant, others) {
    const pair = await this.#crypto.subtle.generateKey('X25519', false, ['deriveBits']);
    const key = await readable(this.#crypto, /** @type {CryptoKeyPair} */ (pair));
    this.#conversation.connection = new Connection(key, participant, ++this.#seq, others);
    this.#shown.clear();
    this.#rekeying.restart();
    await this.#replaceConnections(others);
    if (others.length > 0) this.#rekeying.settle(SETTLE);
    this.#presence.start();
    await this.#conversation.sendHello(undefined);
  }

  /** @param {string[]} others */
  async #replaceConnections(others) {
    const there = new Set(others);
    for (const gone of this.#members.connections.filter(id => !there.has(id))) await this.#onDeparted(gone);
    for (const id of there) {
      if (this.#members.announce(id)) this.#presence.expect(id);
      else this.#count('crowd');
    }
    for (const peer of this.#members.peers) {
      peer.pair = null;
      peer.paired = false;
    }
  }

  /** @param {string} participant */
  async #onDeparted(participant) {
    this.#members.withdraw(participant);
    this.#presence.dismiss(participant);
    this.#conversation.connection?.greeted.delete(participant);
    for (const key of this.#shown) {
      if (key.startsWith(`${participant} `)) this.#shown.delete(key);
    }
    const peer = this.#members.of(participant);
    if (peer) await this.#depart(peer, false);
  }

  /**
   * @param {Peer} peer
   * @param {boolean} final
   */
  async #depart(peer, final) {
    const wasOnRoster = peer.onRoster;
    this.#members.forget(peer, final);
    if (!wasOnRoster) return;
    this.#news.left.push(peer.name);
    await this.#rosterChanged();
    await this.#rekeying.departed(peer);
  }

  /** @param {Peer} peer */
  async #enter(peer) {
    peer.onRoster = true;
    peer.enteredAt = this.#environment.now();
    peer.heardAt = peer.enteredAt;
    this.#news.joined.push(peer.name);
    await this.#rosterChanged();
    await this.#rekeying.entered(peer);
  }

  async #rosterChanged() {
    this.#emit('roster', { participants: this.#members.roster.map(listed) });
    await this.#presence.rosterChanged();
    this.#codes++;
    this.#coding ??= this.#showCode();
  }

  /** Shows the code of the latest roster; those that it went through on the way are passed over. */
  async #showCode() {
    const { call } = this.#secrets;
    for (let shown = -1; shown !== this.#codes;) {
      shown = this.#codes;
      const identities = this.#members.roster.map(peer => peer.identity);
      const code = await verificationCode(this.#crypto, call, [...identities, this.#identity.publicKey]);
      if (shown !== this.#codes) continue;
      this.#emit('code', { code, ...this.#news });
      this.#news = { joined: [], left: [] };
    }
    this.#coding = null;
  }

  // Messages.

  /** @returns {Meanings} */
  #meanings() {
    return {
      send: (to, data) => this.#emit('send', { to, data }),
      meet: hello => this.#members.meet(
        hello, () => new Peer(this.#crypto, this.#secrets.call, hello, this.#environment.after),
      ),
      ready: peer => this.#onReady(peer),
      keyed: peer => this.#onKeyed(peer),
      acknowledged: (peer, generation, step) => this.#rekeying.acknowledged(peer, generation, step),
      tunnel: (peer, description) => this.#onTunnel(peer, description),
      message: (peer, kind, body) => this.#onSaid(peer, kind, body),
      bye: peer => this.#depart(peer, true),
      unverified: (participant, why) => this.#unverified(participant, why),
      refused: why => this.#count(why),
    };
  }

  /**
   * @param {string} from
   * @param {{type: string, fields: Record<string, unknown>}} message
   */
  async #onMessage(from, { type, fields }) {
    if (!this.#closed) await this.#conversation.receive(from, type, fields);
  }

  /** @param {Peer} peer */
  async #onReady(peer) {
    if (peer.paired) return;
    peer.paired = true;
    peer.heardAt = this.#environment.now();
    this.#presence.dismiss(peer.participant);
    if (peer.onRoster) {
      this.#emit('roster', { participants: this.#members.roster.map(listed) });
      await this.#rekeying.returned(peer);
    } else {
      await this.#enter(peer);
    }
    if (!this.#presence.expecting) await this.#rekeying.settledEarly();
  }

  /** @param {Peer} peer */
  #onKeyed(peer) {
    for (const slot of this.#slots.values()) {
      if (slot.participant === peer.participant) slot.keyed();
    }
  }

  /**
   * @param {Peer} peer
   * @param {unknown} description
   */
  #onTunnel(peer, description) {
    if (!this.#alone(peer) || typeof description !== 'string') this.#count('tunnel');
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
    this.#count(why);
    const key = `${participant} ${why}`;
    if (this.#shown.has(key)) return;
    this.#shown.add(key);
    this.#emit('unverified', { participant, name: this.#nameOf(participant), stream: undefined, why });
  }

  /**
   * @param {Slot} slot
   * @param {string} why
   */
  #unverifiedFrames({ participant, stream }, why) {
    this.#emit('unverified', { participant, name: this.#nameOf(participant ?? ''), stream, why });
  }

  /** @param {string} participant */
  #nameOf(participant) {
    return this.#members.of(participant)?.name ?? '';
  }

  /** @param {string} participant */
  #member(participant) {
    const peer = this.#members.of(participant);
    return peer?.onRoster ? peer : undefined;
  }

  /**
   * Whether that peer and we are the whole roster.
   * @param {Peer} peer
   */
  #alone(peer) {
    const { roster } = this.#members;
    return roster.length === 1 && roster[0] === peer && peer.paired;
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

  /** @param {string} why */
  #count(why) {
    this.counters[why] = (this.counters[why] ?? 0) + 1;
  }
}

/**
 * @param {Crypto} crypto
 * @param {CryptoKeyPair} pair
 * @returns {Promise<KeyPair>}
 */
async function readable(crypto, { privateKey, publicKey }) {
  return { privateKey, publicKey: new Uint8Array(await crypto.subtle.exportKey('raw', publicKey)) };
}

/** @param {Peer} peer */
function listed({ participant, name }) {
  return { id: participant, name };
}

/** Milliseconds that a joiner gives those who were there before its first key goes out. */
const SETTLE = 500;
