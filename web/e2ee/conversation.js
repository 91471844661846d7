// What is said between members: writes the messages of the protocol, and reads those of others down to what they mean.

import { covered, fromBase64Url, text, toBase64Url, utf8 } from './bytes.js';
import { verifyEd25519 } from './derive.js';
import { MAX_MESSAGE, readObject, writeEnvelope } from './envelope.js';
import { readHello, writeHello } from './hello.js';
import { checkMessage, openMessage, sealMessage } from './messages.js';
import { agree } from './pairwise.js';
import { BASE_KEY, LAST_STEP } from './sender-key.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./door.js').Door} Door */
/** @typedef {import('./door.js').Held} Held */
/** @typedef {import('./link.js').CallSecrets} CallSecrets */
/** @typedef {import('./hello.js').Hello} Hello */
/** @typedef {import('./host-state.js').HostState} HostState */
/** @typedef {import('./membership.js').Membership} Membership */
/** @typedef {import('./membership.js').Peer} Peer */
/** @typedef {import('./sender-key.js').BaseKey} BaseKey */
/** @typedef {import('./sender-key.js').SenderKeys} SenderKeys */
/** @typedef {import('./derive.js').KeyPair} KeyPair */
/** @typedef {{identity: KeyPair, name: string, tunnel: boolean}} Ourselves `tunnel`: whether we can have one */
/** @typedef {'forwarded' | 'tunnel'} Path */

/**
 * What a message means, once it held.
 * @typedef {object} Meanings
 * @property {(to: string | undefined, data: string) => void} send to everyone where `to` is absent
 * @property {(hello: Hello) => Peer} meet
 * @property {(peer: Peer, body: Record<string, unknown>) => Promise<void>} ready
 * @property {(peer: Peer) => void} keyed
 * @property {(peer: Peer, generation: number, step: number) => Promise<void>} acknowledged
 * @property {(peer: Peer, description: unknown) => void} tunnel
 * @property {(peer: Peer, path: Path) => void} over it no longer needs that path of ours
 * @property {(from: string, state: unknown) => Promise<void>} hostState
 * @property {(peer: Peer, kind: string, body: any) => void} message
 * @property {(peer: Peer) => Promise<void>} bye
 * @property {(participant: string, why: string) => void} unverified it did not hold, and that must be shown
 * @property {(why: string) => void} refused it did not hold, and nobody need know
 */

/** One connection of ours: its key, and who has our hello. */
export class Connection {
  /** @type {Set<string>} */
  greeted;

  /**
   * @param {KeyPair} key X25519
   * @param {string} participant
   * @param {number} seq
   * @param {string[]} others who will all get our first hello
   */
  constructor(key, participant, seq, others) {
    this.key = key;
    this.participant = participant;
    this.seq = seq;
    this.greeted = new Set(others);
  }
}

export class Conversation {
  #crypto;
  #secrets;
  #ourselves;
  #identity;
  #keys;
  #members;
  #door;
  #meanings;
  /** @type {Connection | null} */
  connection = null;

  /**
   * @param {Crypto} crypto
   * @param {CallSecrets} secrets
   * @param {Ourselves} ourselves
   * @param {SenderKeys} keys
   * @param {Membership} members
   * @param {Door} door
   * @param {Meanings} meanings
   */
  constructor(crypto, secrets, ourselves, keys, members, door, meanings) {
    this.#crypto = crypto;
    this.#secrets = secrets;
    this.#ourselves = ourselves;
    this.#identity = ourselves.identity;
    this.#keys = keys;
    this.#members = members;
    this.#door = door;
    this.#meanings = meanings;
  }

  /**
   * Introduces us.
   * @param {string | undefined} to everyone where absent
   */
  async sendHello(to) {
    if (!this.connection) return;
    const { key, seq, participant } = this.connection;
    const { name } = this.#ourselves;
    const hello = { identity: this.#identity.publicKey, key: key.publicKey, seq, participant, name };
    const fields = await writeHello(this.#crypto, this.#secrets, this.#identity.privateKey, hello);
    if (to !== undefined) this.connection.greeted.add(to);
    this.#meanings.send(to, writeEnvelope('hello', fields));
  }

  /**
   * What to say while we wait outside: a hello of another type, whose key agrees with nobody.
   * @param {string} participant our id
   * @param {number} seq
   * @returns {Promise<string>}
   */
  async knock(participant, seq) {
    const { identity, name } = this.#ourselves;
    const hello = { identity: identity.publicKey, key: new Uint8Array(32), seq, participant, name };
    return writeEnvelope('knock', await writeHello(this.#crypto, this.#secrets, identity.privateKey, hello, 'knock'));
  }

  /** @param {HostState} state */
  sendHostState(state) {
    if (this.connection && this.#members.connections.length > 0) {
      this.#meanings.send(undefined, writeEnvelope('host-state', { state: state.wire }));
    }
  }

  /**
   * Meets somebody whose hello was held.
   * @param {string} from
   * @param {Held} held
   */
  async readmit(from, { hello, ready }) {
    if (!this.connection || !this.#members.present(from)) return;
    await this.#greet(from, hello, this.connection);
    if (ready) await this.#onPairwise(from, 'ready', ready);
  }

  /**
   * @param {Peer} peer
   * @param {BaseKey} key
   */
  async sendKey(peer, { generation, step, base }) {
    await this.#sendPairwise(peer, 'key', { generation, step, base: toBase64Url(base) });
  }

  /**
   * @param {Peer} peer
   * @param {unknown} description
   */
  async sendTunnel(peer, description) {
    await this.#sendPairwise(peer, 'tunnel', { description });
  }

  /**
   * @param {Peer} peer
   * @param {Path} path that we no longer need of theirs
   */
  async sendTunnelOver(peer, path) {
    await this.#sendPairwise(peer, 'tunnel-over', { path });
  }

  /**
   * Says something to the whole roster.
   * @param {string} kind
   * @param {unknown} body
   */
  async broadcast(kind, body) {
    if (!this.connection || this.#members.roster.length === 0) return;
    const { call } = this.#secrets;
    const sealed = await sealMessage(this.#crypto, this.#keys, call, this.#identity.privateKey, { kind, body });
    this.#meanings.send(undefined, writeEnvelope('message', { box: toBase64Url(sealed) }));
  }

  /** Says goodbye, for good. */
  async sendBye() {
    if (!this.connection) return;
    const signed = covered('bye', this.#secrets.call, this.#identity.publicKey);
    const signature = await this.#crypto.subtle.sign('Ed25519', this.#identity.privateKey, signed);
    this.#meanings.send(undefined, writeEnvelope('bye', { signature: toBase64Url(new Uint8Array(signature)) }));
  }

  /**
   * @param {string} from
   * @param {string} type
   * @param {Record<string, unknown>} fields
   */
  async receive(from, type, fields) {
    if (!this.connection || !this.#members.present(from)) return this.#meanings.refused('stranger');
    switch (type) {
      case 'hello': return this.#onHello(from, fields, this.connection);
      case 'ready': case 'key': case 'key-ack': case 'tunnel': case 'tunnel-over':
        return this.#onPairwise(from, type, fields);
      case 'host-state': return this.#meanings.hostState(from, fields.state);
      case 'message': return this.#onMessage(from, fields);
      case 'bye': return this.#onBye(from, fields);
      default: return this.#meanings.refused('type');
    }
  }

  /**
   * @param {string} from
   * @param {Record<string, unknown>} fields
   * @param {Connection} connection
   */
  async #onHello(from, fields, connection) {
    const { unverified } = this.#meanings;
    const hello = await readHello(this.#crypto, this.#secrets, fields);
    if (!hello) return unverified(from, 'hello');
    if (toBase64Url(hello.identity) === toBase64Url(this.#identity.publicKey)) return unverified(from, 'identity');
    await this.#greet(from, hello, connection);
  }

  /**
   * Meets who said an authentic hello, unless something speaks against it.
   * @param {string} from
   * @param {Hello} hello
   * @param {Connection} connection
   */
  async #greet(from, hello, connection) {
    const { unverified, meet } = this.#meanings;
    const refusal = this.#door.refusal(hello.identity);
    const verdict = this.#members.judge(from, hello);
    if (verdict === 'replay' && refusal === 'removed') return unverified(from, refusal);
    if (verdict !== 'new' && verdict !== 'same') return unverified(from, verdict);
    const known = verdict === 'same' ? this.#members.of(from) : undefined;
    if (known?.pair) return;
    if (refusal !== null && !(refusal === 'locked' && this.#members.isListed(hello.identity))) {
      if (refusal === 'locked') this.#door.hold(from, hello);
      return unverified(from, refusal);
    }
    const { call, psk } = this.#secrets;
    const side = { call, psk, ours: this.#identity.publicKey, theirs: hello.identity };
    const pair = await agree(this.#crypto, side, connection.key.privateKey, hello.key);
    if (!pair) return unverified(from, 'hello');
    const peer = known ?? meet(hello);
    peer.pair = pair;
    if (!connection.greeted.has(from)) await this.sendHello(from);
    await this.#sendPairwise(peer, 'ready', { tunnel: this.#ourselves.tunnel, host: this.#door.state?.wire ?? null });
  }

  /**
   * @param {string} from
   * @param {string} type
   * @param {Record<string, unknown>} fields
   */
  async #onPairwise(from, type, fields) {
    const { unverified, refused, ready, tunnel, over } = this.#meanings;
    const { counter, box } = fields;
    if (type === 'ready' && this.#door.holdReady(from, fields)) return;
    const peer = this.#members.of(from);
    const sealed = fromBase64Url(box);
    if (!peer?.pair) return refused('unpaired');
    const opened = sealed && typeof counter === 'number' ? await peer.pair.open(type, counter, sealed) : null;
    if (!opened) return unverified(from, type === 'ready' ? 'ready' : 'pair');
    const body = readObject(text(opened));
    opened.fill(0);
    if (!body) return refused('malformed');
    if (type === 'ready') return ready(peer, body);
    // One that is kept out for now sends its key as to the others: without it, it could not be read once it is let in.
    if (!(peer.onRoster && peer.paired) && !(peer.proved && type === 'key')) return refused('unpaired');
    if (type === 'tunnel') return tunnel(peer, body.description);
    if (type === 'tunnel-over') return isPath(body.path) ? over(peer, body.path) : refused('malformed');
    const { generation, step } = body;
    if (!isCount(generation, 0xffff_ffff) || !isCount(step, LAST_STEP)) return refused('malformed');
    if (type === 'key') return this.#onKey(peer, generation, step, fromBase64Url(body.base, BASE_KEY));
    return this.#meanings.acknowledged(peer, generation, step);
  }

  /**
   * @param {Peer} peer
   * @param {number} generation
   * @param {number} step
   * @param {Bytes | null} base
   */
  async #onKey(peer, generation, step, base) {
    if (!base) return this.#meanings.refused('malformed');
    if (!(await peer.receiving.learn(generation, step, base))) {
      return this.#meanings.unverified(peer.participant, 'key');
    }
    await this.#sendPairwise(peer, 'key-ack', { generation, step });
    this.#meanings.keyed(peer);
  }

  /**
   * @param {string} from
   * @param {Record<string, unknown>} fields
   */
  async #onMessage(from, { box }) {
    const { unverified, refused, message } = this.#meanings;
    const peer = this.#members.of(from);
    const sealed = fromBase64Url(box);
    if (!peer?.onRoster || !sealed) return refused('unpaired');
    const opened = await openMessage(this.#crypto, this.#secrets.call, peer, sealed);
    if (opened === 'signature') return unverified(from, 'message');
    if (typeof opened === 'string') return refused(opened);
    if (opened.kind !== 'alive' && !holds(opened.kind, opened.body)) return refused('malformed');
    message(peer, opened.kind, opened.body);
  }

  /**
   * @param {string} from
   * @param {Record<string, unknown>} fields
   */
  async #onBye(from, fields) {
    const peer = this.#members.of(from);
    const signature = fromBase64Url(fields.signature, 64);
    if (!peer || !signature) return this.#meanings.refused('unpaired');
    const signed = covered('bye', this.#secrets.call, peer.identity);
    const theirs = await verifyEd25519(this.#crypto, peer.identity, signature, signed);
    return theirs ? this.#meanings.bye(peer) : this.#meanings.unverified(from, 'bye');
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
    const data = writeEnvelope(type, { counter: sealed.counter, box: toBase64Url(sealed.box) });
    this.#meanings.send(peer.participant, data);
  }
}

/**
 * Whether a description may be sent: it must fit a relay message once it is sealed.
 * @param {unknown} description
 * @returns {boolean}
 */
export function fitsTunnel(description) {
  return typeof description === 'string' && utf8(JSON.stringify(description)).length <= (MAX_MESSAGE * 3) / 4 - 256;
}

/**
 * @param {unknown} path
 * @returns {path is Path}
 */
export function isPath(path) {
  return path === 'forwarded' || path === 'tunnel';
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
function holds(kind, body) {
  try {
    checkMessage(kind, body);
    return true;
  } catch {
    return false;
  }
}
