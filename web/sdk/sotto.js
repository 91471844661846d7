// Sotto's SDK: `Call.newLink()`, `Call.join()`, and an EventTarget that tells what happens. See README.md beside it.

import { Encryption } from '../e2ee/encryption.js';
import { ChatLog } from './chat.js';
import { SottoError, asSottoError } from './error.js';
import { LocalMedia } from './local.js';
import { Moderation } from './moderation.js';
import { Participant } from './participant.js';
import { Roster } from './roster.js';
import { Session } from './session.js';
import { detail, retryDelay } from './signaling.js';
import { Meter, Speakers } from './speaking.js';
import { isSource, kindOf } from './transport.js';

export { Participant, SottoError };

/**
 * @typedef {import('./transport.js').Source} Source
 * @typedef {'connecting' | 'connected' | 'reconnecting' | 'ended'} State
 * @typedef {import('./chat.js').ChatMessage} ChatMessage
 * @typedef {{final: boolean, retention_days: number, row: Record<string, unknown> | null}} Receipt
 *
 * @typedef {object} JoinOptions
 * @property {string} name
 * @property {MediaStream | null} [stream] Holds the microphone and camera to send.
 * @property {boolean} [tunnel] Whether two may talk through a tunnel; false has all forwarded.
 * @property {() => void} [waiting] The call is locked: somebody has to let us in.
 * @property {AbortSignal} [signal] Gives up joining.
 * @property {number} [patience] Milliseconds before two who remain go back to the tunnel; for tests.
 */

/** Milliseconds without success after which reconnecting gives up. */
const GIVE_UP_MS = 180_000;
/** Milliseconds that the encrypted goodbye may take. */
const GOODBYE_MS = 500;
/** Hints that wait behind this many messages would only arrive late. */
const HINT_BACKLOG = 20;
const THINGS = { microphone: 'voice', camera: 'video', screen: 'screen', 'screen-audio': 'screen sound' };

/**
 * Events, each a CustomEvent:
 * `state` {state, reason?: SottoError, closing?: number}; `participant` {participant, change: joined|left|changed};
 * `track` {participant, kind, source, track} (track null: it ended); `speaking` {participant, speaking, level};
 * `chat` {message, change: new|unsent}; `verification` {code, joined, left, removed}; `local` {source, track};
 * `path` {path: tunnel|forwarded}; `host` {host, locked}; `knock` {knocks}; `mute` {by};
 * `error` {error: SottoError, participant?, source?}.
 */
export class Call extends EventTarget {
  /** @type {State} */ state = 'connecting';
  /** Ourselves. @type {Participant} */ self;
  /** What the server says it stored of the call; null until we left. @type {Receipt | null} */ receipt = null;
  #code = '';
  #chat = new ChatLog((message, change) => this.#emit('chat', { message, change }));
  #roster = new Roster({
    changed: (participant, change) => {
      if (change === 'left') this.#speakers.forget(participant);
      this.#emit('participant', { participant, change });
    },
    track: (participant, source, track) => this.#emit('track', { participant, kind: kindOf(source), source, track }),
    want: (id, source, height) => this.#session?.want(id, source, height),
    size: (id, source, height) => this.#session?.size(id, source, height),
  });
  #speakers = new Speakers((participant) => {
    const { speaking, level } = participant;
    this.#emit('speaking', { participant, speaking, level });
  });
  /** @type {Session | undefined} */ #session;
  /** @type {Meter | undefined} */ #meter;
  /** Since when nothing got through, and our attempts. @type {{since: number, attempt: number} | null} */
  #outage = null;
  #link;
  #encryption;
  #options;
  #moderation;
  #local;
  #clock = setInterval(() => this.#speakers.tick(), 300);
  #online = () => void this.#session?.restart().catch(() => {});

  /** Whether this browser can take part; a call never goes on without encryption. */
  static get supported() {
    return typeof RTCPeerConnection === 'function' && typeof RTCRtpScriptTransform === 'function' &&
      typeof RTCRtpSender === 'function' && 'transform' in RTCRtpSender.prototype &&
      Encryption.supported && crypto?.subtle !== undefined;
  }

  /**
   * Makes the two links of a new call; the secrets in them exist nowhere else.
   * @param {string} [origin] Of the relay; by default where this module came from.
   * @returns {Promise<{host: string, invite: string}>}
   */
  static newLink(origin = new URL(import.meta.url).origin) {
    return Encryption.newLink(origin);
  }

  /**
   * The link to hand on, from a host link or from itself.
   * @param {string} link
   * @returns {Promise<string>}
   */
  static inviteOf(link) {
    return Encryption.inviteLink(link, new URL(link).origin);
  }

  /**
   * Joins a call and resolves once admitted. Rejects with a SottoError whose `code` says why not.
   * @param {string} link Host or invite link.
   * @param {JoinOptions} options
   * @returns {Promise<Call>}
   */
  static async join(link, options) {
    if (!Call.supported) throw new SottoError('unsupported');
    const { name, stream = null, tunnel = true, signal } = options;
    if (signal?.aborted) throw new SottoError('aborted');
    /** @type {Encryption} */ let encryption;
    try {
      encryption = await Encryption.open(link, { name, tunnel });
    } catch (error) {
      throw asSottoError(error, 'link');
    }
    const call = new Call(link, encryption, options);
    call.#local.adopt(stream);
    const giveUp = () => call.#session?.close(new SottoError('aborted'));
    signal?.addEventListener('abort', giveUp);
    try {
      if (signal?.aborted) throw new SottoError('aborted');
      await call.#connect();
    } catch (error) {
      void call.#finish();
      throw asSottoError(error, 'unreachable');
    } finally {
      signal?.removeEventListener('abort', giveUp);
    }
    return call;
  }

  /**
   * Use `Call.join`.
   * @param {string} link
   * @param {Encryption} encryption
   * @param {JoinOptions} options
   */
  constructor(link, encryption, options) {
    super();
    const { name } = options;
    this.#link = link;
    this.#encryption = encryption;
    this.#options = options;
    this.#moderation = new Moderation(encryption, {
      send: (message) => this.#session?.send(message),
      participant: (id) => this.#roster.get(id),
      self: () => this.self,
      mute: () => this.setMicrophone(false),
      removed: (error) => this.#end(error),
      emit: (type, value) => this.#emit(type, value),
    });
    this.self = new Participant('', name, true);
    this.#local = new LocalMedia((source, track) => this.#changed(source, track));
    this.#listen();
    globalThis.addEventListener?.('online', this.#online);
  }

  /** The others, in the order in which they came. @returns {Participant[]} */
  get participants() {
    return this.#roster.participants;
  }

  /** @param {string} id @returns {Participant | undefined} */
  participant(id) {
    return id === this.self.id ? this.self : this.#roster.get(id);
  }

  /** Six groups of five digits, equal for all; empty while alone. */
  get verificationCode() {
    return this.#roster.alone ? '' : this.#code;
  }

  /** `tunnel` while the relay holds no key of what we send and receive. @returns {import('./path.js').Kind} */
  get path() {
    return this.#session?.path ?? 'forwarded';
  }

  /** Whether ours is the host link. */
  get isHost() {
    return this.#moderation.isHost;
  }

  /** Whom the host's signed word names, where they are in the call. @returns {Participant | null} */
  get host() {
    return this.#moderation.host;
  }

  /** Whether nobody comes in whom the host does not let in. */
  get locked() {
    return this.#moderation.locked;
  }

  /** Who asks to be let in. @returns {readonly import('./moderation.js').Knock[]} */
  get knocks() {
    return this.#moderation.knocks;
  }

  /** Locks the call or opens it; for the host, like the next four. @param {boolean} on */
  lock(on) {
    return this.#moderation.lock(on);
  }

  /** Lets somebody in. @param {string} participant Of a knock. */
  admit(participant) {
    return this.#moderation.admit(participant);
  }

  /** Sends somebody away. @param {string} participant Of a knock. */
  deny(participant) {
    return this.#moderation.deny(participant);
  }

  /** Shuts somebody out for good, and locks the call. @param {Participant | string} participant */
  remove(participant) {
    return this.#moderation.remove(participant);
  }

  /** Asks all others to mute themselves. */
  muteAll() {
    return this.#moderation.muteAll();
  }

  /** What was written, oldest first; gone with the page. @returns {readonly ChatMessage[]} */
  get messages() {
    return this.#chat.messages;
  }

  /** What we send. @param {Source} source @returns {MediaStreamTrack | null} */
  localTrack(source) {
    return this.#local.track(source);
  }

  /** Whether our microphone is on. */
  get microphone() {
    return this.#local.track('microphone')?.enabled ?? false;
  }

  /** Whether our camera is on. */
  get camera() {
    return this.#local.track('camera') !== null;
  }

  /** Whether we share our screen. */
  get sharing() {
    return this.#local.track('screen') !== null;
  }

  /**
   * True asks for a camera, false turns it off (its light too), a track is sent as it is.
   * @param {MediaStreamTrack | boolean | null} camera
   */
  async setCamera(camera) {
    await this.#local.setCamera(camera);
  }

  /**
   * True unmutes (and asks for a microphone where there is none), false mutes: silence is then sent, encrypted like
   * speech, so that the relay cannot tell. Null stops it altogether.
   * @param {MediaStreamTrack | boolean | null} microphone
   */
  async setMicrophone(microphone) {
    await this.#local.setMicrophone(microphone);
    this.#tellState();
  }

  /**
   * Asks the person which screen, window or tab to share; false stops. Resolves with whether something is shared.
   * @param {MediaStream | boolean} [screen] A stream is shared as it is.
   * @returns {Promise<boolean>}
   */
  shareScreen(screen = true) {
    return this.#local.share(screen);
  }

  /**
   * @param {string} text
   * @returns {string} The message's id, for `unsend`.
   */
  sendChat(text) {
    const body = this.#chat.write(this.self, text);
    this.#tell('chat', body);
    return body.id;
  }

  /** Takes back a message of ours. @param {string} id */
  unsend(id) {
    if (this.#chat.takeBack(this.self, id)) this.#tell('unsend', { id });
  }

  /**
   * Says how large a picture is shown, so that no more than that is sent.
   * @param {Participant} participant
   * @param {Source} source
   * @param {number} height In CSS pixels; 0 when it is not shown.
   */
  show(participant, source, height) {
    // In steps, so that dragging a window's edge does not send a message for every pixel.
    const pixels = Math.ceil((height * (globalThis.devicePixelRatio || 1)) / 90) * 90;
    this.#roster.size(participant.id, source, pixels);
  }

  /** WebRTC's own statistics of the connection in use. @returns {Promise<RTCStatsReport>} */
  async getStats() {
    if (!this.#session) throw new SottoError('lost');
    return this.#session.getStats();
  }

  /** Leaves, stops what the SDK opened, and forgets; resolves with the last `state`. */
  leave() {
    return this.#end();
  }

  // Connecting, and connecting again.

  async #connect() {
    /** @type {Session} */ const session = new Session(this.#link, this.#encryption, {
      waiting: (id, state) => {
        this.#moderation.waiting(id, state).catch((error) => session.close(asSottoError(error, 'encryption')));
        this.#options.waiting?.();
      },
      joined: (joined) => this.#joined(session, joined),
      up: () => this.#up(),
      arrived: (id) => {
        this.#roster.arrived(id);
        this.#encryption.arrived(id);
      },
      departed: (id) => {
        this.#encryption.departed(id);
        this.#roster.departed(id);
      },
      published: (id, stream) => this.#roster.published(id, stream),
      unpublished: (id, stream) => this.#roster.unpublished(id, stream),
      tunnelled: (id, streams) => this.#roster.tunnelled(id, streams),
      attached: () => this.#roster.askAgain(),
      path: (path) => this.#emit('path', { path }),
      show: (owner, track) => this.#roster.show(owner, track),
      knock: (type, message) => this.#moderation.knocked(type, message),
      receipt: ({ final, retention_days, row }) => {
        this.receipt = { final: final === true, retention_days: Number(retention_days) || 0, row: row ?? null };
      },
      closing: (_, seconds) => this.#emit('state', { state: this.state, closing: seconds }),
      fault: (error) => this.#emit('error', { error }),
      lost: (error) => void this.#reconnect(error),
    }, { tunnel: this.#options.tunnel ?? true, patience: this.#options.patience });
    this.#session = session;
    try {
      await session.join();
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /**
   * @param {Session} session
   * @param {import('./signaling.js').Joined} joined
   */
  #joined(session, { participant, participants }) {
    this.self.id = participant;
    this.#moderation.reset();
    this.#encryption.joined(participant, participants.map(({ id }) => id));
    this.#roster.reset(participants);
    this.#emit('participant', { participant: this.self, change: 'changed' });
    for (const [source, track] of this.#local.tracks) this.#send(session, source, track);
  }

  #up() {
    this.#outage = null;
    this.#setState('connected');
  }

  /** @param {SottoError} error */
  async #reconnect(error) {
    if (this.#ended) return;
    // A connection that was admitted but never carried media belongs to the same outage.
    const outage = (this.#outage ??= { since: performance.now(), attempt: 0 });
    let last = error;
    this.#setState('reconnecting', last);
    while (last.passing && performance.now() - outage.since < GIVE_UP_MS) {
      await new Promise((resolve) => setTimeout(resolve, retryDelay(outage.attempt++)));
      if (this.#ended) return;
      try {
        await this.#connect();
        return;
      } catch (failure) {
        last = asSottoError(failure, 'unreachable');
      }
      if (this.#ended) return;
    }
    await this.#end(last);
  }

  /** @param {SottoError} [reason] */
  async #end(reason) {
    if (this.#ended) return;
    this.state = 'ended';
    await this.#finish();
    this.#emit('state', { state: this.state, reason, receipt: this.receipt });
  }

  /** Asked between awaits, where `state` may have changed. */
  get #ended() {
    return this.state === 'ended';
  }

  async #finish() {
    clearInterval(this.#clock);
    this.#moderation.admitted();
    this.#roster.close();
    globalThis.removeEventListener?.('online', this.#online);
    this.#meter?.close();
    this.#meter = undefined;
    this.#local.stop();
    this.#chat.clear();
    // Its goodbye still goes through the connection, but nobody waits long for it.
    await Promise.race([this.#encryption.close(), new Promise((resolve) => setTimeout(resolve, GOODBYE_MS))]);
    await this.#session?.leave();
  }

  // What we send.

  /**
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   */
  #changed(source, track) {
    if (this.#ended) return;
    if (this.#session && this.self.id !== '') this.#send(this.#session, source, track);
    if (source === 'microphone') this.#listenTo(track);
    if (track) this.self.streams.set(source, track);
    else this.self.streams.delete(source);
    this.#tellState();
    this.#emit('local', { source, track });
  }

  /**
   * @param {Session} session
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   */
  #send(session, source, track) {
    const sent = track ? session.publish(source, track) : session.unpublish(source);
    sent.catch((error) => {
      // What a lost connection fails at, its successor does again.
      const told = asSottoError(error, 'encryption');
      if (told.code !== 'lost' && session === this.#session) this.#emit('error', { error: told, source });
    });
  }

  /** @param {MediaStreamTrack | null} track */
  #listenTo(track) {
    if (!track) {
      this.#meter?.close();
      this.#meter = undefined;
      return;
    }
    this.#meter ??= new Meter((level) => {
      this.#speakers.hear(this.self, level);
      if ((this.#session?.backlog ?? 0) < HINT_BACKLOG) this.#tell('speaking', { level });
    });
    this.#meter.listen(track);
  }

  #tellState() {
    this.self.microphone = this.microphone;
    this.#tell('state', { microphone: this.microphone });
    this.#emit('participant', { participant: this.self, change: 'changed' });
  }

  /**
   * @param {'chat' | 'unsend' | 'speaking' | 'state'} kind
   * @param {object} body
   */
  #tell(kind, body) {
    this.#encryption.send(kind, body).catch((error) => {
      if (!this.#ended && kind !== 'speaking') this.#emit('error', { error: asSottoError(error, 'encryption') });
    });
  }

  // Who is there.

  #listen() {
    const on = (/** @type {string} */ type, /** @type {(value: any) => void} */ act) =>
      this.#encryption.addEventListener(type, (event) => this.#ended || act(detail(event)));
    // Not by `on`: the goodbye comes when all else has ended.
    this.#encryption.addEventListener('send', (event) => this.#session?.relay(detail(event)));
    on('roster', ({ participants }) => {
      const others = participants.filter((/** @type {{id: string}} */ { id }) => id !== this.self.id);
      this.#roster.authenticate(others);
      this.#session?.authenticated(others);
    });
    on('code', ({ code, joined, left, removed = [] }) => {
      this.#code = code ?? '';
      this.#emit('verification', { code: this.verificationCode, joined, left, removed });
    });
    on('live', (frame) => this.#session?.live(frame));
    on('tunnel', (message) => this.#session?.described(message));
    on('tunnel-over', (message) => this.#session?.tunnelOver(message));
    on('message', ({ participant, kind, body }) => this.#message(participant, kind, body));
    on('unverified', ({ participant, name, stream }) => this.#unverified(participant, name, stream));
    on('disagreement', ({ participants }) => {
      if (participants.length > 0) this.#emit('error', { error: new SottoError('disagreement') });
    });
    on('failed', () => {
      void this.#end(new SottoError('encryption', 'The encryption failed; nothing was sent without it.'));
    });
  }

  /**
   * @param {string} id
   * @param {string} kind
   * @param {any} body
   */
  #message(id, kind, body) {
    const participant = this.#roster.get(id);
    if (!participant || typeof body !== 'object' || body === null) return;
    if (kind === 'speaking') {
      this.#speakers.hear(participant, body.level);
    } else if (kind === 'state') {
      participant.microphone = body.microphone === true;
      this.#emit('participant', { participant, change: 'changed' });
    } else if (kind === 'chat') {
      this.#chat.receive(participant, body);
    } else if (kind === 'unsend') {
      this.#chat.takeBack(participant, body.id);
    } else if (kind === 'mute') {
      void this.#moderation.muted(participant);
    }
  }

  /**
   * @param {string} id
   * @param {string} name
   * @param {string} [stream] Absent where it is not about media.
   */
  #unverified(id, name, stream = '') {
    const participant = this.#roster.get(id);
    if (participant && isSource(stream)) participant.unverified.add(stream);
    const who = participant?.name || name || 'Somebody who tried to join';
    const sentence = isSource(stream) ? `${who}'s ${THINGS[stream]} cannot be verified, so it is not shown.`
      : participant ? `A message of ${who} could not be verified, and was dropped.`
        : `${who} cannot be verified, and is not let in.`;
    const error = new SottoError('unverified', sentence);
    this.#emit('error', { error, participant, source: stream });
    if (participant) this.#emit('participant', { participant, change: 'changed' });
  }

  /**
   * @param {State} state
   * @param {SottoError} [reason]
   */
  #setState(state, reason) {
    if (this.#ended || (this.state === state && !reason)) return;
    this.state = state;
    this.#emit('state', { state, reason });
  }

  /**
   * @param {string} type
   * @param {object} value
   */
  #emit(type, value) {
    this.dispatchEvent(new CustomEvent(type, { detail: value }));
  }
}
