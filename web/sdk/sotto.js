// Sotto's SDK: `Call.newLink()`, `Call.join()`, and an EventTarget that tells what happens. See README.md beside it.

import { Encryption } from '../e2ee/encryption.js';
import { ChatLog } from './chat.js';
import { SottoError, asSottoError } from './error.js';
import { LocalMedia } from './local.js';
import { Participant } from './participant.js';
import { Roster } from './roster.js';
import { Session } from './session.js';
import { detail, retryDelay } from './signaling.js';
import { Meter, Speaker } from './speaking.js';
import { isSource, kindOf } from './transport.js';

export { Participant, SottoError };

/**
 * @typedef {import('./transport.js').Source} Source
 * @typedef {'connecting' | 'connected' | 'reconnecting' | 'ended'} State
 * @typedef {import('./chat.js').ChatMessage} ChatMessage
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
 * `chat` {message, change: new|unsent}; `verification` {code, joined, left}; `local` {source, track};
 * `error` {error: SottoError, participant?, source?}.
 */
export class Call extends EventTarget {
  /** @type {State} */ state = 'connecting';
  /** Ourselves. @type {Participant} */ self;
  #code = '';
  #chat = new ChatLog((message, change) => this.#emit('chat', { message, change }));
  #roster = new Roster({
    changed: (participant, change) => {
      if (change === 'left') this.#speakers.delete(participant);
      this.#emit('participant', { participant, change });
    },
    track: (participant, source, track) => this.#emit('track', { participant, kind: kindOf(source), source, track }),
    want: (id, source, height) => this.#session?.want(id, source, height),
  });
  /** @type {Map<Participant, Speaker>} */ #speakers = new Map();
  /** @type {Session | undefined} */ #session;
  /** @type {Meter | undefined} */ #meter;
  /** Since when nothing got through, and our attempts. @type {{since: number, attempt: number} | null} */
  #outage = null;
  #link;
  #encryption;
  #local;
  #clock = setInterval(() => this.#tick(), 300);
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
   * @param {{name: string, stream?: MediaStream | null}} options `stream` holds the microphone and camera to send.
   * @returns {Promise<Call>}
   */
  static async join(link, { name, stream = null }) {
    if (!Call.supported) throw new SottoError('unsupported');
    /** @type {Encryption} */ let encryption;
    try {
      encryption = await Encryption.open(link, { name });
    } catch (error) {
      throw asSottoError(error, 'link');
    }
    const call = new Call(link, encryption, name);
    call.#local.adopt(stream);
    try {
      await call.#connect();
    } catch (error) {
      void call.#finish();
      throw asSottoError(error, 'unreachable');
    }
    return call;
  }

  /**
   * Use `Call.join`.
   * @param {string} link
   * @param {Encryption} encryption
   * @param {string} name
   */
  constructor(link, encryption, name) {
    super();
    this.#link = link;
    this.#encryption = encryption;
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

  /** WebRTC's own statistics of the connection to the relay. @returns {Promise<RTCStatsReport>} */
  async getStats() {
    if (!this.#session) throw new SottoError('lost');
    return this.#session.getStats();
  }

  /** Leaves, stops what the SDK opened, and forgets. */
  leave() {
    if (this.state === 'ended') return;
    this.#setState('ended');
    void this.#finish();
  }

  // Connecting, and connecting again.

  async #connect() {
    /** @type {Session} */ const session = new Session(this.#link, this.#encryption, {
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
      show: (owner, track) => this.#roster.show(owner, track),
      closing: (_, seconds) => this.#emit('state', { state: this.state, closing: seconds }),
      fault: (error) => this.#emit('error', { error }),
      lost: (error) => void this.#reconnect(error),
    });
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
    this.#setState('ended', last);
    void this.#finish();
  }

  /** Asked between awaits, where `state` may have changed. */
  get #ended() {
    return this.state === 'ended';
  }

  async #finish() {
    clearInterval(this.#clock);
    this.#roster.close();
    globalThis.removeEventListener?.('online', this.#online);
    this.#meter?.close();
    this.#meter = undefined;
    this.#local.stop();
    this.#chat.clear();
    // Its goodbye still goes through the connection, but nobody waits long for it.
    await Promise.race([this.#encryption.close(), new Promise((resolve) => setTimeout(resolve, GOODBYE_MS))]);
    this.#session?.close();
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
      this.#heard(this.self, level);
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
      this.#roster.authenticate(participants.filter((/** @type {{id: string}} */ { id }) => id !== this.self.id));
    });
    on('code', ({ code, joined, left }) => {
      this.#code = code ?? '';
      this.#emit('verification', { code: this.verificationCode, joined, left });
    });
    on('live', (frame) => this.#session?.authenticated(frame));
    on('message', ({ participant, kind, body }) => this.#message(participant, kind, body));
    on('unverified', ({ participant, name, stream }) => this.#unverified(participant, name, stream));
    on('disagreement', ({ participants }) => {
      if (participants.length > 0) this.#emit('error', { error: new SottoError('disagreement') });
    });
    on('failed', () => {
      this.#setState('ended', new SottoError('encryption', 'The encryption failed; nothing was sent without it.'));
      void this.#finish();
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
      this.#heard(participant, body.level);
    } else if (kind === 'state') {
      participant.microphone = body.microphone === true;
      this.#emit('participant', { participant, change: 'changed' });
    } else if (kind === 'chat') {
      this.#chat.receive(participant, body);
    } else if (kind === 'unsend') {
      this.#chat.takeBack(participant, body.id);
    }
  }

  /**
   * @param {Participant} participant
   * @param {unknown} level
   */
  #heard(participant, level) {
    let speaker = this.#speakers.get(participant);
    if (!speaker) this.#speakers.set(participant, (speaker = new Speaker()));
    speaker.hear(level, performance.now());
    this.#tellSpeaking(participant, speaker);
  }

  #tick() {
    const now = performance.now();
    for (const [participant, speaker] of this.#speakers) {
      if (speaker.tick(now)) this.#tellSpeaking(participant, speaker);
    }
  }

  /**
   * @param {Participant} participant
   * @param {Speaker} speaker
   */
  #tellSpeaking(participant, { speaking, level }) {
    if (participant.speaking === speaking && participant.level === level) return;
    participant.speaking = speaking;
    participant.level = level;
    this.#emit('speaking', { participant, speaking, level });
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
