// One connection to a call, from its WebSocket to its media: it lives until the call is left or the connection is
// lost, and is then replaced as a whole, with new keys and a new participant id.

import { SottoError, asSottoError } from './error.js';
import { Forwarded } from './forwarded.js';
import { Route } from './route.js';
import { Signaling, detail, socketUrl } from './signaling.js';

/**
 * @typedef {import('./transport.js').Source} Source
 * @typedef {import('./transport.js').Encryption} Encryption
 * @typedef {import('./signaling.js').Joined} Joined
 * @typedef {import('./signaling.js').Message} Message
 * @typedef {import('./slots.js').Owner} Owner
 *
 * @typedef {object} Hooks
 * @property {(participant: string, state: object) => void} waiting The call is locked, and we are not in it yet.
 * @property {(joined: Joined) => void} joined
 * @property {() => void} up Media can flow.
 * @property {(id: string) => void} arrived
 * @property {(id: string) => void} departed
 * @property {(id: string, stream: string) => void} published
 * @property {(id: string, stream: string) => void} unpublished
 * @property {(id: string, streams: Set<Source>) => void} tunnelled What the other one sends through the tunnel.
 * @property {() => void} attached The forwarded connection was opened anew: it has been asked for nothing yet.
 * @property {(kind: import('./path.js').Kind) => void} path
 * @property {(owner: Owner, track: MediaStreamTrack | null) => void} show
 * @property {(type: 'knock' | 'knock-end', message: Message) => void} knock
 * @property {(receipt: Message) => void} receipt
 * @property {(reason: string, seconds: number) => void} closing
 * @property {(error: SottoError) => void} fault Something failed that leaves the connection standing.
 * @property {(error: SottoError) => void} lost The connection is over.
 */

export class Session {
  #signaling;
  /** @type {Forwarded | null} */ #forwarded = null;
  #route;
  #encryption;
  #hooks;
  #host;
  #joined = false;
  #over = false;
  /** What we send. @type {Map<Source, MediaStreamTrack>} */ #tracks = new Map();
  /** Slots that the relay asked for. */ #pairs = 0;
  /** The next offer waits for the answer to this one, also across connections. @type {Promise<unknown>} */
  #offered = Promise.resolve();

  /**
   * @param {string} link
   * @param {Encryption} encryption
   * @param {Hooks} hooks
   * @param {{tunnel: boolean, patience?: number}} options
   */
  constructor(link, encryption, hooks, options) {
    this.#hooks = hooks;
    this.#encryption = encryption;
    this.#host = new URL(link).host;
    this.#signaling = new Signaling(socketUrl(link));
    this.#route = new Route({
      send: (message) => this.#signaling.send(message),
      describe: (peer, description) => void encryption.tunnel(peer, description).catch(() => {}),
      over: (peer, kind) => void encryption.tunnelOver(peer, kind).catch(() => {}),
      attach: () => this.#attach(),
      detach: () => this.#detach(),
      tracks: () => this.#tracks,
      stats: async (track) => (await this.#forwarded?.getStats(track)) ?? new Map(),
      tunnelled: (peer, streams) => hooks.tunnelled(peer, streams),
      show: (owner, track) => hooks.show(owner, track),
      changed: (kind) => hooks.path(kind),
      fault: (error) => hooks.fault(error),
    }, options);
    this.#listen();
  }

  /** Resolves once the server has admitted us; the media connection goes on to open. */
  join() {
    return this.#signaling.join((nonce) => this.#encryption.admission(nonce, this.#host));
  }

  /** How many messages wait for their turn to be sent. */
  get backlog() {
    return this.#signaling.backlog;
  }

  /** @returns {import('./path.js').Kind} */
  get path() {
    return this.#route.kind;
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack} track
   */
  async publish(source, track) {
    if (!this.#joined) return; // Whoever joins sends all there is.
    this.#tracks.set(source, track);
    await Promise.all([this.#forwarded?.publish(source, track), this.#route.carry(source, track)]);
  }

  /** @param {Source} source */
  async unpublish(source) {
    if (!this.#joined) return;
    this.#tracks.delete(source);
    await Promise.all([this.#forwarded?.unpublish(source), this.#route.carry(source, null)]);
  }

  /**
   * Asks the relay for a publication.
   * @param {string} participant
   * @param {string} stream
   * @param {number} height In device pixels; 0 for nothing.
   */
  want(participant, stream, height) {
    if (this.#joined) this.#forwarded?.want(participant, stream, height); // Whoever joins asks for all that they want.
  }

  /**
   * Says how tall a picture is shown, whichever way it comes.
   * @param {string} participant
   * @param {Source} source
   * @param {number} height
   */
  size(participant, source, height) {
    this.#route.size(participant, source, height);
  }

  /** @param {{to?: string, data: string}} message */
  relay({ to, data }) {
    this.#signaling.send(to === undefined ? { type: 'relay', data } : { type: 'relay', to, data });
  }

  /** A message of moderation, which the server understands. @param {Message} message */
  send(message) {
    this.#signaling.send(message);
  }

  /** @param {{id: string, tunnel?: boolean}[]} participants All whom the encryption vouches for. */
  authenticated(participants) {
    this.#route.authenticated(participants);
  }

  /** @param {{slot: string, participant: string, stream: string}} frame */
  live(frame) {
    this.#forwarded?.authenticated(frame);
  }

  /** @param {{participant: string, description: string}} message */
  described({ participant, description }) {
    this.#route.described(participant, description);
  }

  /** @param {{participant: string, path: string}} message */
  tunnelOver({ participant, path }) {
    this.#route.peerOver(participant, path);
  }

  async restart() {
    this.#route.restart();
    await this.#forwarded?.restart();
  }

  /** Of the connection that is in use. @returns {Promise<RTCStatsReport>} */
  getStats() {
    return this.#route.getStats() ?? this.#forwarded?.getStats() ?? Promise.reject(new SottoError('lost'));
  }

  /** Ends it for good, and waits for what the server says last. */
  async leave() {
    if (this.#over) return;
    this.#end();
    await this.#signaling.leave();
  }

  /** @param {SottoError} [reason] Why whoever waits in `join` waits in vain. */
  close(reason) {
    if (this.#over) return;
    this.#end();
    this.#signaling.close(reason);
  }

  #end() {
    this.#over = true;
    this.#route.close();
    this.#forwarded?.close();
    this.#forwarded = null;
  }

  #attach() {
    if (this.#over) return;
    /** @type {Forwarded} */ const forwarded = new Forwarded(this.#encryption, {
      send: (message) => this.#signaling.send(message),
      negotiate: (sdp) => this.#offer(forwarded, sdp),
      show: (owner, track) => this.#route.forwarded(owner, track),
      up: () => {
        this.#route.up();
        this.#hooks.up();
      },
      fault: (error) => this.#hooks.fault(error),
      lost: (error) => this.#lose(error),
    });
    this.#forwarded = forwarded;
    forwarded.open(this.#pairs);
    this.#hooks.attached();
    for (const [source, track] of this.#tracks) {
      forwarded.publish(source, track).catch((error) => {
        if (this.#forwarded === forwarded) this.#hooks.fault(asSottoError(error, 'encryption'));
      });
    }
  }

  #detach() {
    this.#forwarded?.close();
    this.#forwarded = null;
    this.#signaling.send({ type: 'detach' });
  }

  /**
   * @param {Forwarded} forwarded
   * @param {string} sdp
   * @returns {Promise<string>}
   */
  #offer(forwarded, sdp) {
    const turn = this.#offered.then(() => {
      if (this.#forwarded !== forwarded) throw new SottoError('lost');
      return this.#signaling.offer(sdp);
    });
    this.#offered = turn.catch(() => {});
    return turn;
  }

  #listen() {
    const on = (/** @type {string} */ type, /** @type {(message: any) => void} */ act) =>
      this.#signaling.addEventListener(type, (event) => this.#over || act(detail(event)));
    on('waiting', ({ participant, state }) => this.#hooks.waiting(participant, state));
    on('joined', (joined) => {
      this.#joined = true;
      this.#route.joined(joined);
      this.#attach();
      this.#hooks.joined(joined);
    });
    on('slots', ({ pairs }) => {
      this.#pairs = Math.max(this.#pairs, Number(pairs) || 0);
      this.#forwarded?.receive(this.#pairs);
    });
    on('participant', ({ id }) => {
      this.#route.arrived(id);
      this.#hooks.arrived(id);
    });
    on('left', ({ id }) => {
      this.#forwarded?.forget(id);
      this.#hooks.departed(id);
      this.#route.departed(id);
    });
    on('published', ({ participant, stream }) => {
      this.#route.published(participant, stream);
      this.#hooks.published(participant, stream);
    });
    on('unpublished', ({ participant, stream }) => {
      this.#forwarded?.forget(participant, stream);
      this.#route.unpublished(participant, stream);
      this.#hooks.unpublished(participant, stream);
    });
    on('assign', (message) => this.#forwarded?.assign(message));
    on('release', (message) => this.#forwarded?.release(message));
    on('tunnel', (message) => this.#route.leg(message));
    on('relay', ({ from, data }) => this.#encryption.receive(from, data));
    on('knock', (message) => this.#hooks.knock('knock', message));
    on('knock-end', (message) => this.#hooks.knock('knock-end', message));
    // Not by `on`: it comes when all else has ended.
    this.#signaling.addEventListener('receipt', (event) => this.#hooks.receipt(detail(event)));
    on('closing', ({ reason, seconds }) => this.#hooks.closing(String(reason), Number(seconds) || 0));
    on('notice', (error) => (error.code === 'tunnel' ? this.#route.refused(error) : this.#hooks.fault(error)));
    on('lost', (error) => this.#lose(error));
  }

  /** @param {SottoError} error */
  #lose(error) {
    if (this.#over) return;
    this.close();
    // Before that, `join` has said so.
    if (this.#joined) this.#hooks.lost(error);
  }
}
