// The page's side of the encryption: starts the worker that holds the keys, and passes messages to and from it.

import { inviteLink, newLink } from './link.js';

/** @typedef {import('./frame.js').Stream} Stream */
/** @typedef {import('./conversation.js').Path} Path */

/**
 * Browsers start workers from the page's own origin only; a page of another one starts a script that imports ours.
 * @param {URL} script
 * @returns {Worker}
 */
function startWorker(script) {
  /** @type {WorkerOptions} */ const options = { type: 'module', name: 'encryption' };
  if (script.origin === globalThis.location?.origin) return new Worker(script, options);
  const import_ = new Blob([`import ${JSON.stringify(script.href)};`], { type: 'text/javascript' });
  const address = URL.createObjectURL(import_);
  const worker = new Worker(address, options);
  URL.revokeObjectURL(address);
  return worker;
}

/**
 * The end-to-end encryption of one call. Events, with their `detail`:
 *
 * - `send` `{to: string | undefined, data: string}`: to be put into a `relay` message, in this order
 * - `roster` `{participants: {id, name, tunnel, host}[]}`: the others who proved themselves; nobody else is ever sent
 *   a key. `tunnel`: it says that it can have one; `host`: the host state names it
 * - `code` `{code, joined: string[], left: string[], removed: string[]}`: the verification code, and the names that
 *   came, went, or were removed by the host
 * - `message` `{participant, name, kind, body}`
 * - `host` `{present: string | null, locked, counter, mine}`: the host state in force, the host's id; `mine`: it is us
 * - `host-state` `{state}`: to be put into a `host` message
 * - `knock` `{participant, name}`: somebody waits outside who holds the link; `knock-end` `{participant}`: no longer
 * - `removed` `{}`: the host removed us
 * - `live` `{slot, participant, stream}`: the first frame since the slot was pointed authenticated (video: a key frame)
 * - `unverified` `{participant, name, stream, why}`: something of theirs cannot be verified; `stream` is absent where it
 *   is not about frames, `name` is empty where even that cannot be known. `why`, of a connection: `silent` (no hello),
 *   `hello` (bad signature, MAC or key), `elsewhere` and `replay` (somebody's earlier hello), `identity` (a second one,
 *   or ours), `ready` (lacks the link's secret), `pair` (a message was dropped or forged), `key` (changes a known key),
 *   `message` and `bye` (bad signature), `host` (a host state that is not the host's), `locked` (the server let it in,
 *   the host did not) and `removed`; of frames: `unknown` (not on the roster), `key` (none for them), `forged`,
 *   `stream`, `malformed`, `replay`
 * - `disagreement` `{participants: {id, name}[]}`: they see another roster than we do; empty when that is over
 * - `tunnel` `{participant, description}`: the description of a direct connection
 * - `tunnel-over` `{participant, path}`: they no longer need what we send them over that path
 * - `failed` `{}`: the worker ended; nothing is sent or rendered any more
 */
export class Encryption extends EventTarget {
  #worker;
  #nextId = 1;
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
  #calls = new Map();
  /** @type {Map<number, {end: RTCRtpSender | RTCRtpReceiver, resolve: () => void, reject: (error: Error) => void}>} */
  #attached = new Map();
  /** @type {WeakMap<RTCRtpSender | RTCRtpReceiver, {key: string, confirmed: Promise<void>}>} */
  #ends = new WeakMap();
  #closed = false;
  /** The call id, base64url. */
  call = '';
  /** Our identity in this call, base64url. */
  identity = '';
  /** Whether ours is the host link, so that `lock`, `admit`, `deny`, `remove` and `muteAll` work. */
  isHost = false;

  /** Whether this browser can take part. */
  static get supported() {
    return 'RTCRtpScriptTransform' in globalThis && globalThis.isSecureContext;
  }

  /**
   * Makes the two links of a new call.
   * @param {string} [origin]
   * @returns {Promise<{host: string, invite: string}>}
   */
  static newLink(origin = location.origin) {
    return newLink(crypto, origin);
  }

  /**
   * The link to hand to guests, from the host's or from itself.
   * @param {string} link
   * @param {string} [origin]
   * @returns {Promise<string>}
   * @throws {RangeError} where the link is not complete
   */
  static inviteLink(link, origin = location.origin) {
    return inviteLink(crypto, link, origin);
  }

  /**
   * @param {string} link a host or invite link
   * @param {{name: string, tunnel?: boolean}} options the name that the others will see; whether we can have a tunnel
   * @returns {Promise<Encryption>}
   * @throws {Error} where the link is not complete, or the browser lacks what is needed
   */
  static async open(link, { name, tunnel = false }) {
    const encryption = new Encryption();
    try {
      Object.assign(encryption, await encryption.#call('open', link, name, { tunnel }));
    } catch (error) {
      encryption.#end(asError(error));
      throw error;
    }
    return encryption;
  }

  /** Use `open`. */
  constructor() {
    super();
    this.#worker = startWorker(new URL('./worker.js', import.meta.url));
    this.#worker.onmessage = ({ data }) => this.#onMessage(data);
    this.#worker.onerror = () => {
      this.#end(new Error('the encryption failed'));
      this.dispatchEvent(new CustomEvent('failed', { detail: {} }));
    };
  }

  /**
   * The fields of the `join` message.
   * @param {string} nonce from `welcome`
   * @param {string} hostName `location.host`
   * @returns {Promise<Record<'call' | 'admission' | 'host' | 'identity' | 'signature' | 'proof', string>>}
   */
  admission(nonce, hostName) {
    return this.#call('admission', nonce, hostName);
  }

  /**
   * We joined; also after a reconnection.
   * @param {string} participant our id
   * @param {string[]} others theirs
   */
  joined(participant, others) {
    this.#tell('joined', participant, others);
  }

  /** @param {string} participant */
  arrived(participant) {
    this.#tell('arrived', participant);
  }

  /** @param {string} participant */
  departed(participant) {
    this.#tell('departed', participant);
  }

  /**
   * @param {string} from
   * @param {string} data of a `relay` message
   */
  receive(from, data) {
    this.#tell('receive', from, data);
  }

  /**
   * Protects all that the sender sends, from this call on. Resolves once the worker has confirmed it; until then, and
   * if it never does, nothing is sent.
   * @param {RTCRtpSender} sender
   * @param {Stream} stream
   * @returns {Promise<void>}
   */
  encrypt(sender, stream) {
    return this.#attach(sender, `send ${stream}`, { side: 'send', stream });
  }

  /**
   * Opens all that the receiver receives, from this call on, for whomever the slot is pointed at.
   * @param {RTCRtpReceiver} receiver
   * @param {string} slot any name, of this receiver alone
   * @returns {Promise<void>}
   */
  decrypt(receiver, slot) {
    return this.#attach(receiver, `receive ${slot}`, { side: 'receive', slot });
  }

  /**
   * Opens that participant's stream in the slot from now on, and nothing else. Resolves once it is so.
   * @param {string} slot
   * @param {number} epoch
   * @param {string} participant
   * @param {string} stream
   * @returns {Promise<void>}
   */
  async point(slot, epoch, participant, stream) {
    await this.#call('point', slot, epoch, participant, stream);
  }

  /**
   * Opens nothing in the slot from now on.
   * @param {string} slot
   * @returns {Promise<void>}
   */
  async blank(slot) {
    await this.#call('blank', slot);
  }

  /**
   * Sends to everyone on the roster: `chat` `{id, text}`, `unsend` `{id}`, `speaking` (up to 32 bytes of JSON; said
   * again every 250 ms until 1.5 s after the last call) and `state` (kept, and told to newcomers too). What the host asks
   * has a method of its own, `muteAll`.
   * @param {'chat' | 'unsend' | 'speaking' | 'state'} kind
   * @param {object} body
   * @returns {Promise<void>} rejects where the body is too large or of the wrong form
   */
  async send(kind, body) {
    await this.#call('send', kind, body);
  }

  /**
   * Sends the description of a direct connection, while there are two of us.
   * @param {string} participant
   * @param {string} description
   * @returns {Promise<boolean>} whether it was sent
   */
  tunnel(participant, description) {
    return this.#call('tunnel', participant, description);
  }

  /**
   * Tells somebody on the roster that we no longer need what they send us over that path.
   * @param {string} participant
   * @param {Path} path
   * @returns {Promise<boolean>} whether it was sent
   */
  tunnelOver(participant, path) {
    return this.#call('tunnelOver', participant, path);
  }

  /**
   * The server answered `waiting`. A host learns from it which state to go beyond, and says so (`host-state`); anybody
   * else knocks.
   * @param {string} participant our id
   * @param {object} state as it came with `waiting`
   * @returns {Promise<void>}
   */
  waiting(participant, state) {
    return this.#call('waiting', participant, state);
  }

  /**
   * What to put into a `knock` message while we wait; another one each time.
   * @param {string} participant our id, from `waiting`
   * @returns {Promise<string>}
   */
  knock(participant) {
    return this.#call('knock', participant);
  }

  /**
   * The server delivered a `knock`.
   * @param {string} id
   * @param {string} data
   */
  knocked(id, data) {
    this.#tell('knocked', id, data);
  }

  /** @param {string} id of a `knock-end` */
  knockEnded(id) {
    this.#tell('knockEnded', id);
  }

  /**
   * Locks the call, or opens it. Like all that the host does it resolves once the new host state was sent, and is
   * rejected where ours is not the host link.
   * @param {boolean} on
   * @returns {Promise<void>}
   */
  lock(on) {
    return this.#call('lock', on);
  }

  /**
   * Lets in who waits outside, or who the server let in past the lock (`unverified` with `locked`).
   * @param {string} participant
   * @returns {Promise<void>}
   */
  admit(participant) {
    return this.#call('admit', participant);
  }

  /**
   * Sends away who waits outside, for good.
   * @param {string} participant
   * @returns {Promise<void>}
   */
  deny(participant) {
    return this.#call('deny', participant);
  }

  /**
   * Shuts a member out, for good, and locks the call.
   * @param {string} participant
   * @returns {Promise<void>}
   */
  remove(participant) {
    return this.#call('remove', participant);
  }

  /**
   * Asks everyone to turn their microphone off: a `message` of kind `mute`, which counts only from the host.
   * @returns {Promise<void>}
   */
  muteAll() {
    return this.#call('muteAll');
  }

  /**
   * How many messages and frames were refused, by reason.
   * @returns {Promise<Record<string, number>>}
   */
  counters() {
    return this.#call('counters');
  }

  /**
   * Says goodbye (one last `send`) and erases the keys. Keep the signaling open until it resolves.
   * @returns {Promise<void>}
   */
  async close() {
    if (this.#closed) return;
    await this.#call('close').catch(() => undefined);
    this.#end(new Error('the encryption is closed'));
  }

  /**
   * @param {RTCRtpSender | RTCRtpReceiver} end
   * @param {string} key
   * @param {{side: string, stream?: string, slot?: string}} options
   * @returns {Promise<void>}
   */
  #attach(end, key, options) {
    const before = this.#ends.get(end);
    if (before?.key === key) return before.confirmed;
    if (this.#closed) return Promise.reject(new Error('the encryption is closed'));
    const attach = this.#nextId++;
    const confirmed = /** @type {Promise<void>} */ (new Promise((resolve, reject) => {
      this.#attached.set(attach, { end, resolve, reject });
      setTimeout(() => reject(new Error('the encryption did not start')), CONFIRMATION);
    }));
    this.#ends.set(end, { key, confirmed });
    try {
      end.transform = new RTCRtpScriptTransform(this.#worker, { attach, ...options });
    } catch (error) {
      this.#attached.get(attach)?.reject(asError(error));
    }
    return confirmed;
  }

  /** @param {any} message */
  #onMessage({ id, result, error, event, detail, attached, detached, codecs }) {
    if (id !== undefined) {
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      if (error === undefined) call?.resolve(result);
      else call?.reject(new Error(error));
    } else if (attached !== undefined) {
      this.#attached.get(attached)?.resolve();
    } else if (detached !== undefined) {
      this.#attached.delete(detached);
    } else if (codecs !== undefined) {
      this.#tellCodecs(codecs);
    } else if (event === 'keyframe') {
      this.#forceKeyFrame(detail.attach);
    } else {
      this.dispatchEvent(new CustomEvent(event, { detail }));
    }
  }

  /** @param {number} attach */
  #tellCodecs(attach) {
    const { codecs } = this.#attached.get(attach)?.end.getParameters() ?? { codecs: [] };
    this.#tell('codecs', attach, codecs.map(({ payloadType, mimeType }) => [payloadType, mimeType]));
  }

  /**
   * Where the transform cannot ask the encoder for a key frame, the sender can.
   * @param {number} attach
   */
  #forceKeyFrame(attach) {
    const sender = /** @type {any} */ (this.#attached.get(attach)?.end);
    const parameters = sender?.getParameters();
    const encodingOptions = parameters?.encodings.map(() => ({ keyFrame: true }));
    sender?.setParameters(parameters, { encodingOptions }).catch(() => undefined);
  }

  /**
   * @param {string} method
   * @param {...unknown} args
   * @returns {Promise<any>}
   */
  #call(method, ...args) {
    if (this.#closed) return Promise.reject(new Error('the encryption is closed'));
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#calls.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, args });
    });
  }

  /**
   * @param {string} method
   * @param {...unknown} args
   */
  #tell(method, ...args) {
    this.#call(method, ...args).catch(() => undefined);
  }

  /** @param {Error} error */
  #end(error) {
    this.#closed = true;
    this.#worker.terminate();
    for (const { reject } of [...this.#calls.values(), ...this.#attached.values()]) reject(error);
    this.#calls.clear();
    this.#attached.clear();
  }
}

/**
 * @param {unknown} error
 * @returns {Error}
 */
function asError(error) {
  return error instanceof Error ? error : new Error(String(error));
}

/** Milliseconds in which the worker confirms a transform; it takes a few. */
const CONFIRMATION = 5_000;
