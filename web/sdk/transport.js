// The RTCPeerConnection to the relay. Sending and receiving m-lines are separate, every one of them gets its
// encryption transform before it is described to the browser, and no track is handed over before that (e2ee.md
// rule 21). We always offer; offers go one at a time.

import { SottoError, asSottoError } from './error.js';
import { answered, offered } from './description.js';

/**
 * @typedef {'microphone' | 'camera' | 'screen' | 'screen-audio'} Source
 * @typedef {import('../e2ee/encryption.js').Encryption} Encryption
 */

/** Milliseconds that a broken path may heal by itself before ICE is restarted. */
const HEAL_MS = 2_000;
/** Milliseconds that the first connection, or a restart, may take. */
const CONNECT_MS = 10_000;
/** What we send and accept: the codecs whose frames the encryption knows how to protect, and retransmission. */
const CODECS = { audio: ['audio/opus'], video: ['video/vp8', 'video/vp9', 'video/rtx'] };
/** Bits per second of a shared screen: text stays sharp at 1080p, and motion is allowed to suffer. */
const SCREEN_BITRATE = 2_500_000;
/** Bits per second of the microphone, constant: transparent for speech. */
const MICROPHONE_BITRATE = 32_000;
/** Bits per second of shared sound, which may be music. */
const SCREEN_AUDIO_BITRATE = 96_000;

/** All that can be sent, in the order in which the m-lines of a tunnel stand. */
export const SOURCES = /** @type {Source[]} */ (['microphone', 'camera', 'screen', 'screen-audio']);

/** @param {unknown} stream @returns {stream is Source} */
export function isSource(stream) {
  return SOURCES.includes(/** @type {Source} */ (stream));
}

/** @param {string} source @returns {'audio' | 'video'} */
export function kindOf(source) {
  return source === 'microphone' || source === 'screen-audio' ? 'audio' : 'video';
}

/**
 * The three simulcast layers of a camera, from the height of its picture. 150 kbit/s carries 180 lines, 500 carries
 * 360, 1,700 carries 720; below that the smaller layers would be stamps, so they rest.
 * @param {number} height
 * @returns {{rid: string, scaleResolutionDownBy: number, maxBitrate: number, active: boolean}[]}
 */
export function cameraLayers(height) {
  const [q, h, f] = height >= 540 ? [150, 500, 1_700] : height >= 270 ? [0, 150, 500] : [0, 0, 150];
  return [
    { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: q * 1000 || 50_000, active: q > 0 },
    { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: h * 1000 || 100_000, active: h > 0 },
    { rid: 'f', scaleResolutionDownBy: 1, maxBitrate: f * 1000, active: true },
  ];
}

/** Over all connections: the decryption of a lost one may go on for a moment beside that of its successor. */
let slotsMade = 0;

/** Events: `up` (media can flow), `down` with a SottoError (it cannot, and restarting ICE did not help). */
export class Transport extends EventTarget {
  #peer;
  #encryption;
  #negotiate;
  #addSlot;
  /** @type {Map<string, Promise<RTCRtpTransceiver>>} */ #lines = new Map();
  #pairs = 0;
  /** @type {{apply: () => Promise<unknown>, resolve: () => void, reject: (error: Error) => void}[]} */ #changes = [];
  #changing = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #patience;
  #closed = false;

  /**
   * @param {object} options
   * @param {Encryption} options.encryption
   * @param {(sdp: string) => Promise<string>} options.negotiate Resolves with the relay's answer.
   * @param {(key: string, track: MediaStreamTrack, mid: () => string | null) => void} options.addSlot
   */
  constructor({ encryption, negotiate, addSlot }) {
    super();
    this.#encryption = encryption;
    this.#negotiate = negotiate;
    this.#addSlot = addSlot;
    this.#peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require', iceServers: [] });
    this.#peer.onconnectionstatechange = () => this.#watch();
  }

  /** Offers the two lines that everybody needs, without any track. */
  async open() {
    this.#expect(CONNECT_MS);
    await Promise.all([this.#line('microphone'), this.#line('camera')]);
  }

  /**
   * Puts a track (or nothing) on a source's m-line, which is made and negotiated where there is none yet.
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   * @returns {Promise<string>} The MID.
   */
  async carry(source, track) {
    const { sender, mid } = await this.#line(source);
    if (!sender.transform || mid === null) throw new SottoError('encryption');
    try {
      if (track && source === 'camera') await shape(sender, cameraLayers(track.getSettings().height ?? 720));
      await sender.replaceTrack(track);
    } catch (error) {
      throw this.#closed ? new SottoError('lost') : error;
    }
    return mid;
  }

  /**
   * Makes sure that there are this many pairs of slots.
   * @param {number} pairs
   */
  async receive(pairs) {
    if (pairs <= this.#pairs) return;
    const first = this.#pairs;
    this.#pairs = pairs;
    await this.#change(async () => {
      for (let pair = first; pair < pairs; pair += 1) {
        await this.#slot('audio');
        await this.#slot('video');
      }
    });
  }

  /** A new path: after the network changed, or when the old one fell silent. */
  async restart() {
    if (this.#closed || this.#peer.connectionState === 'new') return;
    this.#expect(CONNECT_MS);
    await this.#change(async () => this.#peer.restartIce());
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
    for (const { reject } of this.#changes.splice(0)) reject(new SottoError('lost'));
  }

  /** @param {Source} source */
  #line(source) {
    let line = this.#lines.get(source);
    if (!line) {
      line = this.#makeLine(source);
      this.#lines.set(source, line);
      line.catch(() => this.#lines.delete(source));
    }
    return line;
  }

  /** @param {Source} source */
  async #makeLine(source) {
    /** @type {RTCRtpTransceiver | undefined} */ let line;
    await this.#change(async () => {
      line = this.#peer.addTransceiver(kindOf(source), { direction: 'sendonly', sendEncodings: encodings(source) });
      prefer(line, kindOf(source));
      await this.#encryption.encrypt(line.sender, source);
    });
    if (!line) throw new SottoError('encryption');
    return line;
  }

  /** @param {'audio' | 'video'} kind */
  async #slot(kind) {
    const key = `${kind}-${(slotsMade += 1)}`;
    const line = this.#peer.addTransceiver(kind, { direction: 'recvonly' });
    prefer(line, kind);
    await this.#encryption.decrypt(line.receiver, key);
    this.#addSlot(key, line.receiver.track, () => line.mid);
  }

  /**
   * Applies a change and resolves once the relay has answered an offer that holds it. Changes that come while
   * another is being prepared share its offer.
   * @param {() => Promise<unknown>} apply
   * @returns {Promise<void>}
   */
  #change(apply) {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new SottoError('lost'));
      this.#changes.push({ apply, resolve, reject });
      if (!this.#changing) void this.#run();
    });
  }

  async #run() {
    this.#changing = true;
    while (this.#changes.length > 0) {
      const applied = [];
      try {
        for (let next = this.#changes.shift(); next; next = this.#changes.shift()) {
          applied.push(next);
          await next.apply();
        }
        await this.#exchange();
        for (const { resolve } of applied) resolve();
      } catch (error) {
        const told = this.#closed ? new SottoError('lost') : asSottoError(error, 'encryption');
        for (const { reject } of applied) reject(told);
        // A line without its transform, or half an exchange, must not be described by a later offer.
        if (!this.#closed) this.#fail(told);
      }
    }
    this.#changing = false;
  }

  async #exchange() {
    await this.#peer.setLocalDescription();
    const sdp = this.#peer.localDescription?.sdp;
    if (!sdp) throw new SottoError('lost');
    const answer = await this.#negotiate(offered(sdp));
    await this.#peer.setRemoteDescription({ type: 'answer', sdp: answered(answer) });
  }

  #watch() {
    switch (this.#peer.connectionState) {
      case 'connected':
        clearTimeout(this.#patience);
        this.#patience = undefined;
        this.dispatchEvent(new Event('up'));
        break;
      case 'disconnected':
        clearTimeout(this.#patience);
        this.#patience = setTimeout(() => this.#retry(), HEAL_MS);
        break;
      case 'failed':
        this.#fail(new SottoError('media'));
        break;
      default:
    }
  }

  #retry() {
    this.restart().catch((error) => this.#fail(asSottoError(error, 'media')));
  }

  /** @param {number} ms */
  #expect(ms) {
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => {
      if (this.#peer.connectionState !== 'connected') this.#fail(new SottoError('media'));
    }, ms);
  }

  /** @param {SottoError} error */
  #fail(error) {
    if (this.#closed) return;
    this.close();
    this.dispatchEvent(new CustomEvent('down', { detail: error }));
  }
}

/** @param {Source} source @returns {RTCRtpEncodingParameters[]} */
function encodings(source) {
  switch (source) {
    case 'camera':
      return cameraLayers(720);
    case 'screen':
      return [{ maxBitrate: SCREEN_BITRATE }];
    case 'screen-audio':
      return [{ maxBitrate: SCREEN_AUDIO_BITRATE }];
    default:
      return [{ maxBitrate: MICROPHONE_BITRATE }];
  }
}

/**
 * Leaves an m-line the codecs that we use, in our order.
 * @param {RTCRtpTransceiver} line
 * @param {'audio' | 'video'} kind
 */
export function prefer(line, kind) {
  const wanted = CODECS[kind];
  const known = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
  const usable = known.filter(({ mimeType }) => wanted.includes(mimeType.toLowerCase()));
  usable.sort((a, b) => wanted.indexOf(a.mimeType.toLowerCase()) - wanted.indexOf(b.mimeType.toLowerCase()));
  if (usable.length === 0) throw new SottoError('unsupported');
  line.setCodecPreferences(usable);
}

/**
 * @param {RTCRtpSender} sender
 * @param {{rid: string, scaleResolutionDownBy: number, maxBitrate: number, active: boolean}[]} layers
 */
async function shape(sender, layers) {
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings ?? []) {
    const layer = layers.find(({ rid }) => rid === encoding.rid);
    // A relay that answered without simulcast leaves one encoding: it then carries the best layer.
    Object.assign(encoding, layer ?? { maxBitrate: layers[layers.length - 1].maxBitrate });
  }
  await sender.setParameters(parameters);
}
