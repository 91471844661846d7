// The WebSocket to the relay: joining, offers and answers, pacing, liveness. Specified in signaling/PROTOCOL.md.

import { SottoError } from './error.js';

/**
 * @typedef {{type: string, [member: string]: any}} Message
 * @typedef {{participants: number, pairs: number, relay: number, rate: number, tunnel?: boolean}} Limits
 * @typedef {{id: string, streams: string[]}} Present
 * @typedef {{participant: string, participants: Present[], limits: Limits}} Joined
 * @typedef {(url: string, protocol: string) => WebSocket} OpenSocket
 */

const SUBPROTOCOL = 'sotto.v1';
/** Milliseconds from opening the socket to `joined`; the server's nonce lives 30 s. */
const JOIN_MS = 12_000;
/** Milliseconds between pings; a path whose ping stays unanswered for as long is dead. The server waits 45 s. */
const PING_MS = 8_000;
/** Milliseconds that an answer may take before the connection counts as lost. */
const ANSWER_MS = 10_000;
/** Milliseconds after our goodbye in which the server says what it stored. */
const RECEIPT_MS = 1_000;
/** Messages per second where the server states no rate. */
const USUAL_RATE = 20;
/** Part of the server's rate that flows, and again that may come in one burst: in no second do both pass the cap. */
const RATE_SHARE = 0.45;

/**
 * Milliseconds to wait before the n-th attempt (from 0) to connect again: doubling from 300 ms to 8 s, with jitter
 * so that the members of a call do not return in one burst.
 * @param {number} attempt
 * @param {() => number} [random] In [0, 1).
 */
export function retryDelay(attempt, random = Math.random) {
  const ceiling = Math.min(8_000, 300 * 2 ** Math.min(attempt, 10));
  return Math.round(ceiling * (0.5 + random() / 2));
}

/**
 * The WebSocket address of the relay that a link points at.
 * @param {string} link
 */
export function socketUrl(link) {
  const url = new URL('/v1/ws', link);
  url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:';
  return url.href;
}

/**
 * One connection. Every message of the server is dispatched under its type, with the message as `detail`; `lost`,
 * with a SottoError, once the connection is over for any reason but `close()`.
 */
export class Signaling extends EventTarget {
  /** @type {WebSocket} */ #socket;
  /** @type {number} */ #rate = USUAL_RATE;
  /** @type {string[]} */ #waiting = [];
  #tokens = USUAL_RATE;
  #refilled = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #flushing;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #pinging;
  /** When the oldest unanswered ping was sent. @type {number | undefined} */ #asked;
  /** @type {Map<number, {resolve: (sdp: string) => void, reject: (error: Error) => void}>} */ #offers = new Map();
  #offerId = 0;
  /** @type {SottoError | undefined} */ #fatal;
  #admitted = false;
  #over = false;
  /** Once we have said goodbye: ends the waiting for the receipt. @type {(() => void) | undefined} */ #left;
  /** @type {() => number} */ #now;

  /**
   * @param {string} url
   * @param {{open?: OpenSocket, now?: () => number}} [options] For tests.
   */
  constructor(url, { open = (u, p) => new WebSocket(u, p), now = () => performance.now() } = {}) {
    super();
    this.#now = now;
    this.#refilled = now();
    this.#socket = open(url, SUBPROTOCOL);
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = () => this.#end(this.#fatal ?? new SottoError('lost'));
  }

  /**
   * Resolves once the server has admitted us. `joined` is also dispatched, before any message that follows it.
   * @param {(nonce: string) => Promise<object>} admit Makes the fields of `join` for the server's nonce.
   * @returns {Promise<Joined>}
   */
  join(admit) {
    return new Promise((resolve, reject) => {
      let welcomed = false;
      const timer = setTimeout(() => this.#end(new SottoError('unreachable')), JOIN_MS);
      this.addEventListener('welcome', async (event) => {
        const { nonce, v } = detail(event);
        welcomed = true;
        if (v !== 1) return this.#end(new SottoError('version'));
        try {
          this.#put({ type: 'join', v: 1, ...(await admit(nonce)) });
        } catch (error) {
          this.#end(new SottoError('encryption', String(error), { cause: error }));
        }
      }, { once: true });
      // Somebody has to let us in, which may take them as long as it may.
      this.addEventListener('waiting', () => clearTimeout(timer), { once: true });
      this.addEventListener('joined', (event) => {
        clearTimeout(timer);
        resolve(detail(event));
      }, { once: true });
      this.addEventListener('lost', (event) => {
        clearTimeout(timer);
        const error = /** @type {SottoError} */ (detail(event));
        reject(error.code === 'lost' && !welcomed ? new SottoError('unreachable') : error);
      }, { once: true });
    });
  }

  /** How many messages wait for their turn. */
  get backlog() {
    return this.#waiting.length;
  }

  /**
   * Sends a message in its turn. Before the server has admitted us there is nothing to say, and nothing is sent.
   * @param {Message} message
   */
  send(message) {
    if (this.#over || !this.#admitted) return;
    this.#waiting.push(JSON.stringify(message));
    this.#flush();
  }

  /**
   * Sends an offer and resolves with the answer's SDP.
   * @param {string} sdp
   * @returns {Promise<string>}
   */
  offer(sdp) {
    const id = ++this.#offerId;
    return new Promise((resolve, reject) => {
      if (this.#over || !this.#admitted) return reject(new SottoError('lost'));
      const timer = setTimeout(() => this.#end(new SottoError('lost')), ANSWER_MS);
      this.#offers.set(id, {
        resolve: (answer) => (clearTimeout(timer), resolve(answer)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      });
      this.send({ type: 'offer', id, sdp });
    });
  }

  /** Says goodbye, waits for the receipt (which is dispatched) and closes; no `lost` follows. */
  async leave() {
    if (this.#over || !this.#admitted) return this.close();
    this.#put({ type: 'leave' });
    this.#over = true;
    clearInterval(this.#pinging);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, RECEIPT_MS);
      this.#left = () => (clearTimeout(timer), resolve(undefined));
      this.#socket.onclose = this.#left;
    });
    this.#stop(new SottoError('lost'));
  }

  /**
   * Says goodbye and closes; no `lost` follows, but for a reason that is given.
   * @param {SottoError} [reason]
   */
  close(reason) {
    if (this.#over) return;
    this.#put({ type: 'leave' });
    if (reason) this.#end(reason);
    else this.#stop(new SottoError('lost'));
  }

  /** @param {unknown} data */
  #receive(data) {
    if (this.#over && !this.#left) return;
    /** @type {Message} */ let message;
    try {
      message = JSON.parse(String(data));
    } catch {
      return; // Not of this protocol: nothing to act on.
    }
    if (typeof message !== 'object' || message === null || typeof message.type !== 'string') return;
    this.#asked = undefined;
    if (this.#left) {
      if (message.type === 'receipt') this.dispatchEvent(new CustomEvent('receipt', { detail: message }));
      if (message.type === 'receipt') this.#left();
    } else if (message.type === 'answer') {
      this.#offers.get(message.id)?.resolve(message.sdp);
      this.#offers.delete(message.id);
    } else if (message.type === 'error') {
      this.#refused(message);
    } else if (message.type !== 'lost') {
      // Whoever waits to be let in may knock.
      if (message.type === 'joined' || message.type === 'waiting') this.#begin(message.limits);
      this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
    }
  }

  /** @param {Message} message */
  #refused(message) {
    const error = new SottoError(String(message.code));
    if (message.code === 'offer') {
      for (const { reject } of this.#offers.values()) reject(new SottoError('offer', String(message.message)));
      this.#offers.clear();
    } else if (message.fatal) {
      this.#fatal = error;
      this.#end(error);
    } else {
      this.dispatchEvent(new CustomEvent('notice', { detail: error }));
    }
  }

  /** @param {Limits | undefined} limits */
  #begin(limits) {
    this.#rate = Math.max(1, (limits?.rate ?? USUAL_RATE) * RATE_SHARE);
    this.#tokens = this.#rate;
    if (this.#admitted) return this.#flush();
    this.#admitted = true;
    this.#pinging = setInterval(() => this.#ping(), PING_MS);
    this.#flush();
  }

  #ping() {
    const now = this.#now();
    if (this.#asked !== undefined && now - this.#asked >= PING_MS * 0.9) return this.#end(new SottoError('lost'));
    this.#asked ??= now;
    this.send({ type: 'ping', t: Math.round(now) });
  }

  #flush() {
    if (this.#flushing !== undefined) return;
    const now = this.#now();
    this.#tokens = Math.min(this.#rate, this.#tokens + ((now - this.#refilled) / 1000) * this.#rate);
    this.#refilled = now;
    while (this.#waiting.length > 0 && this.#tokens >= 1) {
      this.#tokens -= 1;
      this.#write(/** @type {string} */ (this.#waiting.shift()));
    }
    if (this.#waiting.length === 0) return;
    this.#flushing = setTimeout(() => {
      this.#flushing = undefined;
      this.#flush();
    }, 1000 / this.#rate);
  }

  /** Past the queue, for what must not wait. @param {Message} message */
  #put(message) {
    this.#write(JSON.stringify(message));
  }

  /** @param {string} text */
  #write(text) {
    if (this.#socket.readyState === 1) this.#socket.send(text);
  }

  /** @param {SottoError} error */
  #end(error) {
    if (this.#over) return;
    this.#stop(error);
    this.dispatchEvent(new CustomEvent('lost', { detail: error }));
  }

  /** @param {SottoError} error */
  #stop(error) {
    this.#over = true;
    clearTimeout(this.#flushing);
    clearInterval(this.#pinging);
    this.#waiting.length = 0;
    for (const { reject } of this.#offers.values()) reject(error);
    this.#offers.clear();
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
  }
}

/**
 * @param {Event} event
 * @returns {any}
 */
export function detail(event) {
  return /** @type {CustomEvent} */ (event).detail;
}
