// The encryption of one call as a state machine: told what the server says, what others send and which frames come,
// it answers with messages to send, frames and events. Time and randomness are given to it.

import { fromBase64Url, text, toBase64Url, utf8, covered } from './bytes.js';
import { verificationCode } from './code.js';
import { verifyEd25519 } from './derive.js';
import { MAX_MESSAGE, readEnvelope, readObject, writeEnvelope } from './envelope.js';
import { STREAMS, metadataPrefix } from './frame.js';
import { readHello, tidyName, writeHello } from './hello.js';
import { openLink, signJoin } from './link.js';
import { Membership, Peer } from './membership.js';
import { checkMessage, openMessage, sealMessage } from './messages.js';
import { agree } from './pairwise.js';
import { Presence } from './presence.js';
import { Queue } from './queue.js';
import { Rekeying } from './rekey.js';
import { changeWindow } from './roster.js';
import { BASE_KEY, LAST_STEP, SenderKeys } from './sender-key.js';
import { Slot } from './slot.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./link.js').CallSecrets} CallSecrets */
/** @typedef {import('./hello.js').Hello} Hello */
/** @typedef {import('./frame.js').Stream} Stream */
/** @typedef {import('./frame.js').FrameCodec} FrameCodec */
/** @typedef {import('./sender-key.js').BaseKey} BaseKey */

/**
 * @typedef {object} Environment
 * @property {Crypto} crypto WebCrypto, also the source of randomness
 * @property {() => number} now milliseconds on a clock that never steps back
 * @property {(milliseconds: number, task: () => void) => () => void} after runs a task later; returns its cancel
 * @property {(type: string, detail: Record<string, unknown>) => void} emit
 */

/** @typedef {{privateKey: CryptoKey, publicKey: Bytes}} KeyPair */

export class Core {
  #environment;
  #crypto;
  #secrets;
  #identity;
  #name;
  #queue = new Queue();
  #members = new Membership();
  #keys;
  #rekeying;
  #presence;
  /** @type {Map<string, Slot>} */
  #slots = new Map();
  /** @type {KeyPair | null} the X25519 key of this connection */
  #connection = null;
  #participant = '';
  #seq = 0;
  /** Connections that have our hello. @type {Set<string>} */
  #greeted = new Set();
  /** What was shown already, until it changes. @type {Set<string>} */
  #shown = new Set();
  /** @type {Map<string, unknown>} the last body of each kind that newcomers must have too */
  #sticky = new Map();
  /** @type {{body: unknown, until: number} | null} */
  #hint = null;
  /** @type {(() => void) | null} */
  #hintTimer = null;
  /** Who came and went since the last code. @type {{joined: string[], left: string[]}} */
  #news = { joined: [], left: [] };
  #codes = 0;
  /** @type {Promise<void>} */
  #coding = Promise.resolve();
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
    this.#environment = environment;
    this.#crypto = environment.crypto;
    this.#secrets = secrets;
    this.#identity = identity;
    this.#name = name;
    this.#keys = new SenderKeys(this.#crypto, metadataPrefix(secrets.call, identity.publicKey));
    this.#rekeying = new Rekeying(this.#keys, {
      now: environment.now,
      later: (milliseconds, task) => this.#later(milliseconds, task),
      window: () => changeWindow(this.#members.roster.length + 1),
      members: () => this.#members.roster,
      deliver: (peer, key) => this.#deliver(peer, key),
      changed: switched => this.#keyChanged(switched),
    });
    this.#presence = new Presence(this.#crypto, secrets.call, identity.publicKey, {
      now: environment.now,
      later: (milliseconds, task) => this.#later(milliseconds, task),
      membership: this.#members,
      say: digest => this.#broadcast('alive', { roster: toBase64Url(digest) }),
      gone: peer => this.#depart(peer, false),
      disagree: peers => this.#emit('disagreement', { participants: peers.map(listed) }),
      unverified: (participant, why) => this.#unverified(participant, why),
    });
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
    else if (!this.#queue.offer(from, () => this.#onMessage(from, message.type, message.fields))) this.#count('flood');
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
      this.#setHint(body);
      return;
    }
    if (kind === 'state') this.#sticky.set(kind, body);
    await this.#queue.add(() => this.#broadcast(kind, body));
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
      if (!peer || !this.#alone(peer)) return;
      await this.#sendPairwise(peer, 'tunnel', { description });
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
    if (this.#closed) return;
    await this.#queue.add(async () => {
      if (this.#connection) await this.#bye();
      this.#closed = true;
      this.#presence.close();
      this.#hintTimer?.();
      this.#rekeying.close();
      for (const peer of this.#members.peers) this.#members.forget(peer, true);
      this.#slots.clear();
      this.#secrets.psk.fill(0);
      this.#connection = null;
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
    this.#connection = await readable(this.#crypto, /** @type {CryptoKeyPair} */ (pair));
    this.#participant = participant;
    this.#seq++;
    this.#shown.clear();
    this.#rekeying.restart();
    await this.#replaceConnections(others);
    this.#greeted = new Set(others);
    if (others.length > 0) this.#rekeying.settle(SETTLE);
    this.#presence.start();
    await this.#sendHello(undefined);
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
    this.#greeted.delete(participant);
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
    this.#coding = this.#showCode(++this.#codes);
  }

  /** @param {number} number of the roster that it is for */
  async #showCode(number) {
    const { call } = this.#secrets;
    const identities = this.#members.roster.map(peer => peer.identity);
    const code = await verificationCode(this.#crypto, call, [...identities, this.#identity.publicKey]);
    if (number !== this.#codes || this.#closed) return;
    this.#emit('code', { code, ...this.#news });
    this.#news = { joined: [], left: [] };
  }

  // Messages.

  /**
   * @param {string} from
   * @param {string} type
   * @param {Record<string, unknown>} fields
   */
  async #onMessage(from, type, fields) {
    if (!this.#members.present(from) || !this.#connection || this.#closed) return this.#count('stranger');
    switch (type) {
      case 'hello': return this.#onHello(from, fields, this.#connection);
      case 'bye': return this.#onBye(from, fields);
      case 'message': return this.#onSealed(from, fields);
      case 'ready': case 'key': case 'key-ack': case 'tunnel': return this.#onPairwise(from, type, fields);
      default: return this.#count('type');
    }
  }

  /**
   * @param {string} from
   * @param {Record<string, unknown>} fields
   * @param {KeyPair} connection
   */
  async #onHello(from, fields, connection) {
    const hello = await readHello(this.#crypto, this.#secrets, fields);
    if (!hello) return this.#unverified(from, 'hello');
    if (toBase64Url(hello.identity) === this.identity) return this.#unverified(from, 'identity');
    const verdict = this.#members.judge(from, hello);
    if (verdict === 'same' && this.#members.of(from)?.pair) return;
    if (verdict !== 'new' && verdict !== 'same') return this.#unverified(from, verdict);
    const side = {
      call: this.#secrets.call, psk: this.#secrets.psk, ours: this.#identity.publicKey, theirs: hello.identity,
    };
    const pair = await agree(this.#crypto, side, connection.privateKey, hello.key);
    if (!pair) return this.#unverified(from, 'hello');
    const peer = verdict === 'same' ? /** @type {Peer} */ (this.#members.of(from)) : this.#meet(hello);
    peer.pair = pair;
    if (!this.#greeted.has(from)) await this.#sendHello(from);
    await this.#sendPairwise(peer, 'ready', {});
  }

  /** @param {Hello} hello */
  #meet(hello) {
    const { call } = this.#secrets;
    return this.#members.meet(hello, () => new Peer(this.#crypto, call, hello, this.#environment.after));
  }

  /**
   * @param {string} from
   * @param {string} type
   * @param {Record<string, unknown>} fields
   */
  async #onPairwise(from, type, { counter, box }) {
    const peer = this.#members.of(from);
    const sealed = fromBase64Url(box);
    if (!peer?.pair || !sealed || typeof counter !== 'number') return this.#count('unpaired');
    const opened = await peer.pair.open(type, counter, sealed);
    if (!opened) return this.#unverified(from, type === 'ready' ? 'ready' : 'pair');
    const body = readObject(text(opened));
    peer.heardAt = this.#environment.now();
    if (!body) return this.#count('malformed');
    if (type === 'ready') return this.#onReady(peer);
    if (!peer.onRoster || !peer.paired) return this.#count('unpaired');
    if (type === 'key') return this.#onKey(peer, body);
    if (type === 'key-ack') return this.#onKeyAck(peer, body);
    if (!this.#alone(peer)) return this.#count('tunnel');
    this.#emit('tunnel', { participant: peer.participant, description: body.description });
  }

  /** @param {Peer} peer */
  async #onReady(peer) {
    if (peer.paired) return;
    peer.paired = true;
    this.#presence.dismiss(peer.participant);
    if (peer.onRoster) {
      this.#emit('roster', { participants: this.#members.roster.map(listed) });
      await this.#rekeying.returned(peer);
    } else {
      await this.#enter(peer);
    }
    if (!this.#presence.expecting) await this.#rekeying.settledEarly();
  }

  /**
   * @param {Peer} peer
   * @param {Record<string, unknown>} body
   */
  async #onKey(peer, { generation, step, base }) {
    const raw = fromBase64Url(base, BASE_KEY);
    if (!raw || !isCount(generation, 0xffff_ffff) || !isCount(step, LAST_STEP)) return this.#count('malformed');
    if (!(await peer.receiving.learn(generation, step, raw))) return this.#unverified(peer.participant, 'key');
    await this.#sendPairwise(peer, 'key-ack', { generation, step });
    for (const slot of this.#slots.values()) {
      if (slot.participant === peer.participant) slot.keyed();
    }
  }

  /**
   * @param {Peer} peer
   * @param {Record<string, unknown>} body
   */
  async #onKeyAck(peer, { generation, step }) {
    if (!isCount(generation, 0xffff_ffff) || !isCount(step, LAST_STEP)) return this.#count('malformed');
    await this.#rekeying.acknowledged(peer, generation, step);
  }

  /**
   * @param {string} from
   * @param {Record<string, unknown>} fields
   */
  async #onSealed(from, { box }) {
    const peer = this.#member(from);
    const sealed = fromBase64Url(box);
    if (!peer || !sealed) return this.#count('unpaired');
    const message = await openMessage(this.#crypto, this.#secrets.call, peer, sealed);
    if (message === 'signature') return this.#unverified(from, 'message');
    if (typeof message === 'string') return this.#count(message);
    peer.heardAt = this.#environment.now();
    if (message.kind === 'alive') return this.#presence.heard(peer, /** @type {any} */ (message.body)?.roster);
    if (!checks(message.kind, message.body)) return this.#count('malformed');
    this.#emit('message', { participant: from, name: peer.name, kind: message.kind, body: message.body });
  }

  /**
   * @param {string} from
   * @param {Record<string, unknown>} fields
   */
  async #onBye(from, fields) {
    const peer = this.#members.of(from);
    const signature = fromBase64Url(fields.signature, 64);
    if (!peer || !signature) return this.#count('unpaired');
    const signed = covered('bye', this.#secrets.call, peer.identity);
    if (!(await verifyEd25519(this.#crypto, peer.identity, signature, signed))) return this.#unverified(from, 'bye');
    await this.#depart(peer, true);
  }

  /** @param {string | undefined} to everyone where absent */
  async #sendHello(to) {
    if (!this.#connection) return;
    const hello = {
      identity: this.#identity.publicKey,
      key: this.#connection.publicKey,
      seq: this.#seq,
      participant: this.#participant,
      name: this.#name,
    };
    const fields = await writeHello(this.#crypto, this.#secrets, this.#identity.privateKey, hello);
    if (to !== undefined) this.#greeted.add(to);
    this.#emit('send', { to, data: writeEnvelope('hello', fields) });
  }

  /**
   * @param {Peer} peer
   * @param {string} type
   * @param {Record<string, unknown>} body
   */
  async #sendPairwise(peer, type, body) {
    const plaintext = utf8(JSON.stringify(body));
    const sealed = await peer.pair?.seal(type, plaintext);
    plaintext.fill(0);
    if (!sealed) return;
    const fields = { counter: sealed.counter, box: toBase64Url(sealed.box) };
    this.#emit('send', { to: peer.participant, data: writeEnvelope(type, fields) });
  }

  /**
   * @param {string} kind
   * @param {unknown} body
   */
  async #broadcast(kind, body) {
    if (this.#closed || !this.#connection || this.#members.roster.length === 0) return;
    const { call } = this.#secrets;
    const sealed = await sealMessage(this.#crypto, this.#keys, call, this.#identity.privateKey, { kind, body });
    const data = writeEnvelope('message', { box: toBase64Url(sealed) });
    if (data.length <= MAX_MESSAGE) this.#emit('send', { to: undefined, data });
  }

  async #bye() {
    const signed = covered('bye', this.#secrets.call, this.#identity.publicKey);
    const signature = await this.#crypto.subtle.sign('Ed25519', this.#identity.privateKey, signed);
    const fields = { signature: toBase64Url(new Uint8Array(signature)) };
    this.#emit('send', { to: undefined, data: writeEnvelope('bye', fields) });
  }

  // Keys.

  /**
   * @param {Peer} peer
   * @param {BaseKey} key
   */
  async #deliver(peer, key) {
    if (!peer.paired || !peer.onRoster) return;
    const { generation, step, base } = key;
    await this.#sendPairwise(peer, 'key', { generation, step, base: toBase64Url(base) });
  }

  /** @param {boolean} switched whether to another generation */
  async #keyChanged(switched) {
    if (switched) this.#emit('keyframe', {});
    for (const [kind, body] of this.#sticky) await this.#broadcast(kind, body);
    await this.#presence.say();
  }

  /**
   * Speaking hints leave by our clock, not by the page's, and all in one size.
   * @param {unknown} body
   */
  #setHint(body) {
    this.#hint = { body, until: this.#environment.now() + HINT_LIFE };
    if (!this.#hintTimer) this.#hintTimer = this.#later(0, () => this.#sayHint());
  }

  async #sayHint() {
    this.#hintTimer = null;
    if (!this.#hint || this.#hint.until < this.#environment.now() || this.#closed) return;
    this.#hintTimer = this.#later(HINT, () => this.#sayHint());
    await this.#broadcast('speaking', this.#hint.body);
  }

  // What is shown.

  /**
   * @param {string} participant
   * @param {string} why
   */
  #unverified(participant, why) {
    this.#count(why);
    const key = `${participant} ${why}`;
    if (this.#shown.has(key) || this.#shown.size >= MAX_SHOWN) return;
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

/**
 * @param {unknown} value
 * @param {number} highest
 * @returns {value is number}
 */
function isCount(value, highest) {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= highest;
}

/**
 * @param {string} kind
 * @param {unknown} body
 */
function checks(kind, body) {
  try {
    checkMessage(kind, body);
    return true;
  } catch {
    return false;
  }
}

/** Milliseconds that a joiner gives those who were there before its first key goes out. */
const SETTLE = 500;

/** Milliseconds between two speaking hints. */
const HINT = 250;

/** Milliseconds after which a hint that the page does not renew ends: the microphone is off, or the page asleep. */
const HINT_LIFE = 1_500;

/** Things shown about others; what a server could fill with invented ones. */
const MAX_SHOWN = 1_024;
