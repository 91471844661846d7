// Before the call: see yourself, say your name, choose devices.

import { Meter } from '../sdk/speaking.js';
import { el, icon, notice } from './view.js';
import { deviceWords } from './words.js';

/** @typedef {import('./devices.js').Devices} Devices */

export class Prejoin {
  #devices;
  #stream = new MediaStream();
  #video = el('preview', HTMLVideoElement);
  /** @type {Meter | undefined} */ #meter;
  #wants = { microphone: true, camera: true };
  /** @type {Promise<void> | null} */ #opening = null;
  #open = false;

  /** @param {Devices} devices */
  constructor(devices) {
    this.#devices = devices;
    el('pre-microphone').addEventListener('click', () => void this.#toggle('microphone'));
    el('pre-camera').addEventListener('click', () => void this.#toggle('camera'));
    el('device-retry').addEventListener('click', () => void this.#acquire());
    devices.addEventListener('chosen', (event) => {
      const { kind } = /** @type {CustomEvent} */ (event).detail;
      if (this.#open) void this.#swap(kind);
    });
  }

  /** Opens camera and microphone; resolves once they are there or were refused. */
  async open() {
    this.#open = true;
    await this.#acquire();
  }

  /** Ends the preview and hands over what is on, after the person has answered what the browser asks. */
  async take() {
    await this.#opening;
    this.#open = false;
    this.#meter?.close();
    this.#meter = undefined;
    const stream = this.#stream;
    this.#stream = new MediaStream();
    this.#video.srcObject = null;
    return stream;
  }

  async #acquire() {
    this.#opening ??= this.#openMissing().finally(() => {
      this.#opening = null;
      this.#draw();
    });
    this.#draw();
    await this.#opening;
  }

  async #openMissing() {
    /** @type {unknown} */ let failure;
    const wanted = this.#missing();
    try {
      if (wanted.audio && wanted.video) (await this.#devices.openBoth()).getTracks().forEach((each) => this.#add(each));
      else if (wanted.video) this.#add(await this.#devices.openCamera());
      else if (wanted.audio) this.#add(await this.#devices.openMicrophone());
    } catch (error) {
      failure = error;
    }
    // One of two may be missing: take the other alone. Nobody who said no is asked again.
    if (failure && wanted.audio && wanted.video && /** @type {Error} */ (failure).name !== 'NotAllowedError') {
      for (const open of [() => this.#devices.openMicrophone(), () => this.#devices.openCamera()]) {
        await open().then((track) => this.#add(track), (error) => (failure = error));
      }
    }
    const missing = this.#missing();
    notice(el('device-problem'), missing.audio || missing.video ? deviceWords(failure, missing) : null);
    this.#wants = { microphone: this.#track('microphone') !== undefined, camera: this.#track('camera') !== undefined };
  }

  /** What is wanted and not there. */
  #missing() {
    return {
      audio: this.#wants.microphone && !this.#track('microphone'),
      video: this.#wants.camera && !this.#track('camera'),
    };
  }

  /** @param {'microphone' | 'camera'} source */
  async #toggle(source) {
    const track = this.#track(source);
    if (track) {
      track.stop();
      this.#stream.removeTrack(track);
      this.#wants[source] = false;
      this.#draw();
    } else {
      this.#wants[source] = true;
      await this.#acquire();
    }
  }

  /** @param {string} kind Of the device that was chosen anew. */
  async #swap(kind) {
    if (kind === 'audiooutput') return;
    const source = kind === 'audioinput' ? 'microphone' : 'camera';
    const track = this.#track(source);
    track?.stop();
    if (track) this.#stream.removeTrack(track);
    this.#wants[source] = true;
    await this.#acquire();
  }

  /** @param {MediaStreamTrack} track */
  #add(track) {
    const stream = this.#stream;
    stream.addTrack(track);
    track.addEventListener('ended', () => this.#lost(stream, track));
  }

  /**
   * A device was pulled out, or its permission was taken back.
   * @param {MediaStream} stream
   * @param {MediaStreamTrack} track
   */
  #lost(stream, track) {
    if (stream !== this.#stream || !stream.getTracks().includes(track)) return;
    stream.removeTrack(track);
    const source = track.kind === 'audio' ? 'microphone' : 'camera';
    notice(el('device-problem'), {
      title: `The ${source} was disconnected`,
      text: `Turn the ${source} on again to use another one, or join without it.`,
    });
    this.#draw();
  }

  /** @param {'microphone' | 'camera'} source @returns {MediaStreamTrack | undefined} */
  #track(source) {
    return (source === 'microphone' ? this.#stream.getAudioTracks() : this.#stream.getVideoTracks())[0];
  }

  #draw() {
    const camera = this.#track('camera');
    const microphone = this.#track('microphone');
    if ((this.#video.srcObject !== null) !== (camera !== undefined) || camera) {
      this.#video.srcObject = camera ? new MediaStream([camera]) : null;
    }
    const without = this.#opening ? 'Waiting for your camera and microphone…' : 'Your camera is off';
    el('preview-note').textContent = camera ? '' : without;
    button('microphone', microphone !== undefined);
    button('camera', camera !== undefined);
    const level = el('level');
    if (microphone) {
      this.#meter ??= new Meter((value) => level.style.setProperty('--level', String(value / 9)));
      this.#meter.listen(microphone);
    } else {
      this.#meter?.close();
      this.#meter = undefined;
      level.style.setProperty('--level', '0');
    }
  }
}

/**
 * @param {'microphone' | 'camera'} source
 * @param {boolean} on
 */
function button(source, on) {
  const element = el(`pre-${source}`);
  const label = `Turn ${source} ${on ? 'off' : 'on'}`;
  element.replaceChildren(icon(on ? source : `${source}-off`));
  element.setAttribute('aria-label', label);
  element.setAttribute('aria-pressed', String(on));
  element.title = label;
}
