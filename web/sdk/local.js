// What we send: the tracks of our microphone, camera and screen, who opened them, and what became of them.

import { SottoError } from './error.js';

/** @typedef {import('./transport.js').Source} Source */

/** 720 lines at 30 pictures a second: what the three simulcast layers are made for. */
export const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
export const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export class LocalMedia {
  /** @type {Map<Source, {track: MediaStreamTrack, ours: boolean}>} */ #held = new Map();
  #changed;

  /** @param {(source: Source, track: MediaStreamTrack | null) => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  /** @returns {[Source, MediaStreamTrack][]} */
  get tracks() {
    return [...this.#held].map(([source, { track }]) => [source, track]);
  }

  /** @param {Source} source */
  track(source) {
    return this.#held.get(source)?.track ?? null;
  }

  /** @param {MediaStream | null} stream Whose tracks its owner stops. */
  adopt(stream) {
    const microphone = stream?.getAudioTracks()[0];
    const camera = stream?.getVideoTracks()[0];
    if (microphone) this.#hold('microphone', microphone, false);
    if (camera) this.#hold('camera', camera, false);
  }

  /** @param {MediaStreamTrack | boolean | null} camera */
  async setCamera(camera) {
    if (typeof camera === 'object') return this.#replace('camera', camera);
    if (camera === this.#held.has('camera')) return;
    if (camera) this.#hold('camera', await open({ video: CAMERA }), true);
    else this.#drop('camera', true);
  }

  /** @param {MediaStreamTrack | boolean | null} microphone */
  async setMicrophone(microphone) {
    if (typeof microphone === 'object') return this.#replace('microphone', microphone);
    const track = this.track('microphone');
    if (track) track.enabled = microphone;
    else if (microphone) this.#hold('microphone', await open({ audio: MICROPHONE }), true);
  }

  /** @param {MediaStream | boolean} screen @returns {Promise<boolean>} */
  async share(screen) {
    this.#drop('screen', true);
    this.#drop('screen-audio', true);
    if (screen === false) return false;
    const ours = screen === true;
    const stream = ours ? await pick() : screen;
    if (!stream) return false;
    const [video] = stream.getVideoTracks();
    const [audio] = stream.getAudioTracks();
    // Text and slides are what is shared most: keep them sharp, and let motion suffer.
    if (video && 'contentHint' in video) video.contentHint ||= 'detail';
    if (video) this.#hold('screen', video, ours);
    if (audio) this.#hold('screen-audio', audio, ours);
    return video !== undefined;
  }

  /** Stops what the SDK opened. */
  stop() {
    for (const source of [...this.#held.keys()]) this.#drop(source, false);
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   */
  #replace(source, track) {
    if (track) this.#hold(source, track, false);
    else this.#drop(source, false);
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack} track
   * @param {boolean} ours Whether the SDK opened it, and so stops it.
   */
  #hold(source, track, ours) {
    const before = this.#held.get(source);
    if (before && before.track !== track && before.ours) before.track.stop();
    this.#held.set(source, { track, ours });
    track.addEventListener('ended', () => {
      if (this.track(source) !== track) return;
      this.#drop(source, false);
      if (source === 'screen') this.#drop('screen-audio', true);
    });
    this.#changed(source, track);
  }

  /**
   * @param {Source} source
   * @param {boolean} off Stops the device even if it was handed to us: somebody turned it off.
   */
  #drop(source, off) {
    const held = this.#held.get(source);
    if (!held) return;
    this.#held.delete(source);
    if (off || held.ours) held.track.stop();
    this.#changed(source, null);
  }
}

/** @param {MediaStreamConstraints} constraints */
async function open(constraints) {
  try {
    const [track] = (await navigator.mediaDevices.getUserMedia(constraints)).getTracks();
    return track;
  } catch (error) {
    throw new SottoError('device', undefined, { cause: error });
  }
}

/** @returns {Promise<MediaStream | null>} Null when the person thought better of it. */
async function pick() {
  try {
    return await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15, max: 30 } }, audio: true });
  } catch (error) {
    if (error instanceof DOMException && (error.name === 'NotAllowedError' || error.name === 'AbortError')) return null;
    throw new SottoError('device', 'The screen could not be shared.', { cause: error });
  }
}
