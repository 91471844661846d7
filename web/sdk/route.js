// The paths of one connection to a call: does what path.js says with the tunnel and the forwarded connection, tells it
// what became of that, and has each source shown from the one or the other.

import { SottoError } from './error.js';
import { Path } from './path.js';
import { presented } from './presented.js';
import { Reception } from './reception.js';
import { SOURCES, kindOf } from './transport.js';
import { Tunnel } from './tunnel.js';

/**
 * @typedef {import('./transport.js').Source} Source
 * @typedef {import('./path.js').Kind} Kind
 * @typedef {import('./slots.js').Owner} Owner
 * @typedef {import('./description.js').Leg} Leg
 *
 * @typedef {object} Hooks
 * @property {(message: import('./signaling.js').Message) => void} send To the server.
 * @property {(peer: string, description: string) => void} describe To the other one, encrypted.
 * @property {(peer: string, kind: Kind) => void} over Likewise.
 * @property {() => void} attach Opens the forwarded connection.
 * @property {() => void} detach Closes it.
 * @property {() => Map<Source, MediaStreamTrack>} tracks What we send.
 * @property {(track: MediaStreamTrack) => Promise<RTCStatsReport>} stats Of a track that was forwarded.
 * @property {(peer: string, streams: Set<Source>) => void} tunnelled What the other one sends through the tunnel.
 * @property {(owner: Owner, track: MediaStreamTrack | null) => void} show
 * @property {(kind: Kind) => void} changed
 * @property {(error: SottoError) => void} fault
 */

/** Characters of a message about the tunnel; the encryption lets fewer pass. */
const LONGEST = 65_536;

export class Route {
  #hooks;
  #path;
  #reception;
  /** @type {{id: string, peer: string, agreed: boolean, connection: Tunnel} | null} */ #tunnel = null;
  /** The others and what they publish, says the relay. @type {Map<string, Set<string>>} */ #connected = new Map();
  /** Lines in which pictures are shown, by participant and source. @type {Map<string, number>} */ #heights = new Map();
  /** Who waits for the server's answer about the tunnel, in order. */
  /** @type {{resolve: (leg: Leg) => void, reject: (error: Error) => void}[]} */ #legs = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #telling = false;
  #refused = false;
  #closed = false;

  /**
   * @param {Hooks} hooks
   * @param {{tunnel: boolean, patience?: number}} options
   */
  constructor(hooks, { tunnel, patience }) {
    this.#hooks = hooks;
    this.#reception = new Reception({
      show: (owner, track) => hooks.show(owner, track),
      presented: (kind, track, signal) => this.#presented(kind, track, signal),
      moved: () => this.#look(),
    });
    this.#path = new Path({
      open: (peer) => this.#open(peer, hex(), true).open(),
      close: () => this.#close(),
      end: (failed) => this.#say({ type: 'end', failed }),
      attach: () => hooks.attach(),
      detach: () => hooks.detach(),
      prefer: (kind) => this.#reception.prefer(kind),
      over: (peer, kind) => hooks.over(peer, kind),
      changed: (kind) => hooks.changed(kind),
      gaveUp: () => hooks.fault(new SottoError('tunnel')),
    }, patience);
    this.#look({ wanted: tunnel });
  }

  /** @returns {Kind} */
  get kind() {
    return this.#path.kind;
  }

  /** @param {import('./signaling.js').Joined} joined */
  joined({ participant, participants, limits }) {
    for (const { id, streams } of participants) this.#connected.set(id, new Set(streams));
    this.#look({ self: participant, allowed: limits?.tunnel === true });
  }

  /** @param {string} id */
  arrived(id) {
    this.#connected.set(id, new Set());
    this.#look();
  }

  /** @param {string} id */
  departed(id) {
    this.#connected.delete(id);
    for (const key of this.#heights.keys()) if (key.startsWith(`${id} `)) this.#heights.delete(key);
    this.#look();
  }

  /**
   * @param {string} id
   * @param {string} stream
   */
  published(id, stream) {
    this.#connected.get(id)?.add(stream);
    this.#look();
  }

  /**
   * @param {string} id
   * @param {string} stream
   */
  unpublished(id, stream) {
    this.#connected.get(id)?.delete(stream);
    this.#look();
  }

  /** @param {{id: string, tunnel?: boolean}[]} participants All whom the encryption vouches for. */
  authenticated(participants) {
    this.#look({ roster: participants.map(({ id, tunnel }) => ({ id, tunnel: tunnel === true })) });
  }

  /** The forwarded connection carries media. */
  up() {
    this.#look({ base: true });
  }

  /**
   * Something authenticated comes by the forwarded connection, or no longer does.
   * @param {Owner} owner
   * @param {MediaStreamTrack | null} track
   */
  forwarded(owner, track) {
    if (track) this.#reception.arrived(owner, 'forwarded', track);
    else this.#reception.gone(owner, 'forwarded');
    this.#look();
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   */
  async carry(source, track) {
    const tunnel = this.#tunnel;
    try {
      await tunnel?.connection.carry(source, track);
    } catch {
      if (tunnel === this.#tunnel) this.#fail();
    }
  }

  /**
   * @param {string} participant
   * @param {Source} source
   * @param {number} height
   */
  size(participant, source, height) {
    const key = `${participant} ${source}`;
    if (this.#heights.get(key) === height || kindOf(source) === 'audio') return;
    this.#heights.set(key, height);
    if (this.#tunnel?.peer === participant) this.#tunnel.connection.want(source, height);
    this.#look();
  }

  /**
   * The server's end of our half of the tunnel, as we asked for it.
   * @param {{ufrag: string, pwd: string, candidates: string[]}} leg
   */
  leg({ ufrag, pwd, candidates }) {
    this.#legs.shift()?.resolve({ ufrag, pwd, candidates });
  }

  /** The server gives us no tunnel now. @param {SottoError} error */
  refused(error) {
    this.#legs.shift()?.reject(error);
  }

  /**
   * What the other one says about the tunnel.
   * @param {string} from
   * @param {string} description
   */
  described(from, description) {
    const said = parsed(description);
    if (!said || this.#closed) return;
    const tunnel = this.#tunnel;
    if (tunnel?.id !== said.id || tunnel?.peer !== from) {
      if (said.type === 'offer') this.#offered(from, said);
    } else if (said.type === 'end') {
      this.#do(() => this.#path.ended(performance.now(), said.failed === true));
    } else {
      if (said.type === 'answer' && !tunnel.agreed) this.#path.agreed();
      if (said.type === 'answer') tunnel.agreed = true;
      tunnel.connection.receive(said);
    }
  }

  /**
   * @param {string} from
   * @param {string} kind
   */
  peerOver(from, kind) {
    if (kind === 'tunnel' || kind === 'forwarded') this.#do(() => this.#path.peerOver(performance.now(), from, kind));
  }

  restart() {
    this.#tunnel?.connection.restart();
  }

  /** Of the tunnel, where it is what is in use. */
  getStats() {
    return this.kind === 'tunnel' ? this.#tunnel?.connection.getStats() : undefined;
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#tunnel?.connection.close();
    this.#tunnel = null;
    this.#reception.lost('tunnel');
    for (const { reject } of this.#legs.splice(0)) reject(new SottoError('lost'));
  }

  /**
   * @param {string} from
   * @param {{id: string} & import('./tunnel.js').Said} said
   */
  #offered(from, said) {
    let answered = false;
    this.#do(() => { answered = this.#path.offered(performance.now(), from); });
    if (answered) this.#open(from, said.id, false).receive(said);
    else this.#hooks.describe(from, JSON.stringify({ type: 'end', id: said.id, failed: false }));
  }

  /**
   * @param {string} peer
   * @param {string} id
   * @param {boolean} leads
   */
  #open(peer, id, leads) {
    const connection = new Tunnel({
      leads,
      ask: () => new Promise((resolve, reject) => {
        this.#legs.push({ resolve, reject });
        this.#hooks.send({ type: 'tunnel', peer });
      }),
      say: (said) => this.#hooks.describe(peer, JSON.stringify({ ...said, id })),
      tracks: this.#hooks.tracks(),
    });
    this.#tunnel = { id, peer, agreed: false, connection };
    const mine = () => this.#tunnel?.connection === connection;
    connection.addEventListener('up', () => {
      if (!mine()) return;
      for (const [key, height] of this.#heights) {
        const [participant, source] = key.split(' ');
        if (participant === peer) connection.want(/** @type {Source} */ (source), height);
      }
      this.#look({ up: true });
    });
    connection.addEventListener('streams', () => mine() && this.#learn());
    connection.addEventListener('down', (event) => mine() && this.#fail(/** @type {CustomEvent} */ (event).detail));
    return connection;
  }

  #close() {
    const tunnel = this.#tunnel;
    if (!tunnel) return;
    this.#tunnel = null;
    tunnel.connection.close();
    this.#hooks.send({ type: 'tunnel-end' });
    this.#reception.lost('tunnel');
    this.#hooks.tunnelled(tunnel.peer, new Set());
  }

  /** @param {SottoError} [error] */
  #fail(error) {
    // Told at once, and once: the tunnel is tried again all the same, since somebody may only be in its way for now.
    if (error?.code === 'tunnel-refused' && !this.#refused) this.#hooks.fault(error);
    this.#refused ||= error?.code === 'tunnel-refused';
    this.#do(() => this.#path.failed(performance.now()));
  }

  /** The other one sends something else through the tunnel than before. */
  #learn() {
    if (!this.#tunnel) return;
    const { peer, connection } = this.#tunnel;
    this.#hooks.tunnelled(peer, connection.streams);
    for (const source of SOURCES) {
      const owner = { participant: peer, stream: source };
      const track = connection.streams.has(source) ? connection.track(source) : null;
      if (track) this.#reception.arrived(owner, 'tunnel', track);
      else this.#reception.gone(owner, 'tunnel');
    }
    this.#look();
  }

  /** @param {object} said */
  #say(said) {
    if (this.#tunnel) this.#hooks.describe(this.#tunnel.peer, JSON.stringify({ ...said, id: this.#tunnel.id }));
  }

  /**
   * @param {Kind} kind
   * @param {MediaStreamTrack} track
   * @param {AbortSignal} signal
   */
  async #presented(kind, track, signal) {
    // What the relay forwards is told of once it has been decrypted: sound that was is there.
    if (kind === 'forwarded' && track.kind === 'audio') return;
    const tunnel = this.#tunnel?.connection;
    const stats = kind === 'tunnel' && tunnel ? () => tunnel.getStats(track) : () => this.#hooks.stats(track);
    await presented(track, stats, signal);
  }

  /** Whether all that the other one sends is shown over each path. @returns {Record<Kind, boolean>} */
  #shown() {
    if (!this.#tunnel) return { tunnel: false, forwarded: false };
    const { peer, connection: { streams } } = this.#tunnel;
    const relayed = this.#connected.get(peer) ?? new Set();
    const missing = (/** @type {Source} */ stream, /** @type {Kind} */ kind) =>
      this.#heights.get(`${peer} ${stream}`) !== 0 && this.#reception.via({ participant: peer, stream }) !== kind;
    return {
      tunnel: !SOURCES.some((each) => (relayed.has(each) && !streams.has(each)) ||
        (streams.has(each) && missing(each, 'tunnel'))),
      forwarded: !SOURCES.some((each) => streams.has(each) && missing(each, 'forwarded')),
    };
  }

  /** @param {Partial<import('./path.js').Facts>} [news] */
  #look(news = {}) {
    this.#do(() => this.#path.update(performance.now(), { others: this.#connected.size, ...news, shown: this.#shown() }));
  }

  /**
   * Tells the path something. What it has us do may be news to it, which waits until it is done with this.
   * @param {() => void} tell
   */
  #do(tell) {
    if (this.#closed) return;
    if (this.#telling) {
      queueMicrotask(() => this.#do(tell));
      return;
    }
    this.#telling = true;
    try {
      tell();
    } finally {
      this.#telling = false;
    }
    this.#wake();
  }

  #wake() {
    clearTimeout(this.#timer);
    const { deadline } = this.#path;
    if (deadline < Infinity) this.#timer = setTimeout(() => this.#look(), Math.max(0, deadline - performance.now()));
  }
}

/**
 * @param {string} description
 * @returns {({id: string} & (import('./tunnel.js').Said | {type: 'end', failed: boolean})) | null}
 */
function parsed(description) {
  if (typeof description !== 'string' || description.length > LONGEST) return null;
  try {
    const said = JSON.parse(description);
    const known = ['streams', 'want', 'restart', 'end'].includes(said?.type) ||
      ((said?.type === 'offer' || said?.type === 'answer') && typeof said.sdp === 'string');
    return known && typeof said.id === 'string' && said.id.length <= 32 ? said : null;
  } catch {
    return null;
  }
}

/** A name for a tunnel, so that what is said of an earlier one is not taken for this one's. */
function hex() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
