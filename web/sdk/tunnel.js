// The tunnel: an RTCPeerConnection from browser to browser that the relay carries without being able to open it. Its
// m-lines never change: a source has its place from the start, and tracks come and go on it. One side leads: it makes
// all offers, and the other one asks for one, so that offers never cross (RFC 9429). To let them cross and take one back
// is no way out: a Chromium that does (version 156) goes on decoding what it receives and shows none of it.

import { sealable, throughRelay } from './description.js';
import { SottoError, asSottoError } from './error.js';
import { SOURCES, isSource, kindOf, prefer } from './transport.js';

/**
 * @typedef {import('./transport.js').Source} Source
 * @typedef {import('./description.js').Leg} Leg
 * @typedef {{type: 'offer' | 'answer', sdp: string, streams: string[]}
 *   | {type: 'streams', streams: string[]} | {type: 'want', source: string, height: number}
 *   | {type: 'restart'}} Said
 */

/** Milliseconds that a broken path may heal by itself before ICE is restarted. */
const HEAL_MS = 1_000;
/** Milliseconds that a restart may take: then the call has waited long enough, and goes on by forwarding. */
const RESTART_MS = 6_000;
/** Bits per second of a picture of 540 lines or more, of 270 or more, and of a smaller one. */
const PICTURE_BITRATES = [2_500_000, 800_000, 250_000];
/** Bits per second of sound: speech, constant; and what is shared, which may be music. */
const SOUND_BITRATES = { microphone: 32_000, 'screen-audio': 96_000 };

/**
 * How a camera is sent to the one other who shows it at that height: no larger than is of use, in the steps that the
 * relay's layers have.
 * @param {number} height Of the camera's picture.
 * @param {number} wanted Lines in which it is shown; 0 where it is not.
 * @returns {{active: boolean, scaleResolutionDownBy: number, maxBitrate: number}}
 */
export function cameraShape(height, wanted) {
  const scale = [4, 2].find((each) => height / each >= Math.max(wanted, SMALLEST)) ?? 1;
  const lines = height / scale;
  const maxBitrate = PICTURE_BITRATES[lines >= 540 ? 0 : lines >= 270 ? 1 : 2];
  return { active: wanted > 0, scaleResolutionDownBy: scale, maxBitrate };
}

/** Lines below which a picture is only a stamp. */
const SMALLEST = 120;

/** Events: `up`, `down` with a SottoError, and `streams` when the other one sends something else than before. */
export class Tunnel extends EventTarget {
  /** What the other one sends. @type {Set<Source>} */ streams = new Set();
  #peer;
  #leads;
  #ask;
  #say;
  /** @type {Promise<Leg>} */ #leg;
  /** @type {Map<Source, RTCRtpTransceiver>} */ #lines = new Map();
  /** @type {Map<Source, MediaStreamTrack>} */ #tracks;
  /** Lines in which the other one shows our pictures. @type {Map<Source, number>} */ #heights = new Map();
  /** One description at a time. @type {Promise<unknown>} */ #turn = Promise.resolve();
  #restarting = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #patience;
  #closed = false;

  /**
   * @param {object} options
   * @param {boolean} options.leads Whether it is we who offer.
   * @param {() => Promise<Leg>} options.ask Asks the relay for its end of our half, with new credentials.
   * @param {(message: Said) => void} options.say To the other participant, encrypted.
   * @param {Iterable<[Source, MediaStreamTrack]>} options.tracks What we send.
   */
  constructor({ leads, ask, say, tracks }) {
    super();
    this.#leads = leads;
    this.#ask = ask;
    this.#say = say;
    this.#tracks = new Map(tracks);
    this.#leg = this.#askAnew();
    this.#peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require', iceServers: [] });
    this.#peer.onconnectionstatechange = () => this.#watch();
  }

  /** Offers all m-lines. */
  open() {
    this.#inTurn(async () => {
      for (const source of SOURCES) {
        const line = this.#peer.addTransceiver(kindOf(source), { direction: 'sendrecv' });
        await this.#adopt(source, line);
      }
      await this.#offer();
    });
  }

  /** @param {Said} said By the other participant. */
  receive(said) {
    if (said.type === 'streams') this.#learn(said.streams);
    else if (said.type === 'want') this.#wanted(said.source, said.height);
    else if (said.type === 'restart') this.#inTurn(() => this.#offer());
    else this.#inTurn(() => this.#described(said));
  }

  /**
   * Sends a track, or nothing, in a source's place.
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   */
  async carry(source, track) {
    const known = this.#tracks.has(source);
    if (track) this.#tracks.set(source, track);
    else this.#tracks.delete(source);
    await this.#put(source);
    if (known !== (track !== null) && this.#lines.size > 0) this.#say({ type: 'streams', streams: this.#sent });
  }

  /**
   * Tells the other one how tall we show their picture.
   * @param {Source} source
   * @param {number} height
   */
  want(source, height) {
    this.#say({ type: 'want', source, height });
  }

  /** @param {Source} source @returns {MediaStreamTrack | null} What arrives in a source's place. */
  track(source) {
    return this.#lines.get(source)?.receiver.track ?? null;
  }

  /** A new path to the relay: after the network changed, or when the old one fell silent. */
  restart() {
    if (this.#closed || this.#restarting || this.#peer.connectionState === 'new') return;
    this.#restarting = true;
    this.#expect();
    this.#inTurn(async () => {
      this.#leg = this.#askAnew();
      // Where the other one offers, the relay's new end in that offer has our browser restart.
      if (!this.#leads) return this.#say({ type: 'restart' });
      this.#peer.restartIce();
      await this.#offer();
    });
  }

  /** @param {MediaStreamTrack} [track] Of this alone. @returns {Promise<RTCStatsReport>} */
  getStats(track) {
    return this.#peer.getStats(track);
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#patience);
    this.#peer.onconnectionstatechange = null;
    this.#peer.close();
  }

  /** Whether somebody answered whose certificate is not the one that the description names. */
  get #impostor() {
    return [...this.#lines.values()].some(({ sender }) => sender.transport?.state === 'failed');
  }

  /** @returns {string[]} What we send. */
  get #sent() {
    return SOURCES.filter((source) => this.#tracks.has(source));
  }

  #askAnew() {
    const leg = this.#ask();
    leg.catch(() => {}); // Whoever awaits it hears of it.
    return leg;
  }

  /** @param {() => Promise<void>} act */
  #inTurn(act) {
    this.#turn = this.#turn.then(() => (this.#closed ? undefined : act())).catch((error) => {
      if (!this.#closed) this.#fail(asSottoError(error, 'tunnel'));
    });
  }

  async #offer() {
    // One is under way already, and its answer is yet to be made.
    if (!this.#leads || this.#peer.signalingState !== 'stable') return;
    await this.#peer.setLocalDescription();
    this.#describe('offer');
  }

  /** @param {'offer' | 'answer'} type */
  #describe(type) {
    const sdp = this.#peer.localDescription?.sdp;
    if (!this.#closed && sdp) this.#say({ type, sdp: sealable(sdp), streams: this.#sent });
  }

  /** @param {{type: 'offer' | 'answer', sdp: string, streams: string[]}} said */
  async #described({ type, sdp, streams }) {
    const due = this.#leads ? type === 'answer' && this.#peer.signalingState === 'have-local-offer' : type === 'offer';
    if (!due) return;
    await this.#peer.setRemoteDescription({ type, sdp: throughRelay(sdp, await this.#leg) });
    if (type === 'offer') await this.#answer();
    this.#restarting = false;
    for (const source of SOURCES) await this.#shape(source);
    this.#learn(streams);
  }

  async #answer() {
    const lines = this.#peer.getTransceivers();
    if (lines.length !== SOURCES.length) throw new SottoError('tunnel-refused');
    for (const [n, source] of SOURCES.entries()) {
      if (lines[n].receiver.track.kind !== kindOf(source)) throw new SottoError('tunnel-refused');
      if (!this.#lines.has(source)) await this.#adopt(source, lines[n]);
    }
    await this.#peer.setLocalDescription();
    this.#describe('answer');
  }

  /**
   * @param {Source} source
   * @param {RTCRtpTransceiver} line
   */
  async #adopt(source, line) {
    line.direction = 'sendrecv';
    prefer(line, kindOf(source));
    this.#lines.set(source, line);
    await this.#put(source);
  }

  /** @param {Source} source */
  async #put(source) {
    const track = this.#tracks.get(source) ?? null;
    await this.#lines.get(source)?.sender.replaceTrack(track);
    await this.#shape(source);
  }

  /** @param {Source} source */
  async #shape(source) {
    const line = this.#lines.get(source);
    if (!line) return;
    const parameters = line.sender.getParameters();
    if (!parameters.encodings?.length) return; // Not negotiated yet.
    for (const encoding of parameters.encodings) Object.assign(encoding, this.#shapeOf(source));
    await line.sender.setParameters(parameters);
  }

  /** @param {Source} source @returns {RTCRtpEncodingParameters} */
  #shapeOf(source) {
    if (source === 'microphone' || source === 'screen-audio') return { maxBitrate: SOUND_BITRATES[source] };
    const wanted = this.#heights.get(source) ?? Infinity;
    if (source === 'screen') return { active: wanted > 0, maxBitrate: PICTURE_BITRATES[0] };
    return cameraShape(this.#tracks.get(source)?.getSettings().height ?? 720, wanted);
  }

  /** @param {unknown} streams */
  #learn(streams) {
    this.streams = new Set((Array.isArray(streams) ? streams : []).filter(isSource));
    this.dispatchEvent(new Event('streams'));
  }

  /**
   * @param {string} source
   * @param {number} height
   */
  #wanted(source, height) {
    if (!isSource(source) || kindOf(source) === 'audio' || !(height >= 0)) return;
    this.#heights.set(source, height);
    this.#inTurn(() => this.#shape(source));
  }

  #watch() {
    switch (this.#peer.connectionState) {
      case 'connected':
        clearTimeout(this.#patience);
        this.dispatchEvent(new Event('up'));
        break;
      case 'disconnected':
        clearTimeout(this.#patience);
        this.#patience = setTimeout(() => this.restart(), HEAL_MS);
        break;
      case 'failed':
        this.#fail(new SottoError(this.#impostor ? 'tunnel-refused' : 'tunnel'));
        break;
      default:
    }
  }

  #expect() {
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => {
      if (this.#restarting || this.#peer.connectionState !== 'connected') this.#fail(new SottoError('tunnel'));
    }, RESTART_MS);
  }

  /** @param {SottoError} error */
  #fail(error) {
    if (this.#closed) return;
    this.close();
    this.dispatchEvent(new CustomEvent('down', { detail: error }));
  }
}
