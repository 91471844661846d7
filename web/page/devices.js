// Our camera, microphone and speaker: opening them, choosing among them, keeping the choice for the call.

import { CAMERA, MICROPHONE } from '../sdk/local.js';

/** @typedef {'audioinput' | 'videoinput' | 'audiooutput'} DeviceKind */

/** @type {Record<DeviceKind, string>} */
const NAMES = { audioinput: 'Microphone', videoinput: 'Camera', audiooutput: 'Speaker' };

export class Devices extends EventTarget {
  /** @type {Partial<Record<DeviceKind, string>>} */ chosen = {};

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.list());
    for (const select of selects()) {
      select.addEventListener('change', () => {
        const kind = /** @type {DeviceKind} */ (select.dataset.device);
        this.chosen[kind] = select.value;
        for (const other of selects()) if (other.dataset.device === kind) other.value = select.value;
        this.dispatchEvent(new CustomEvent('chosen', { detail: { kind, id: select.value } }));
      });
    }
  }

  /** @returns {Promise<MediaStreamTrack>} */
  openCamera() {
    return this.#open({ video: { ...CAMERA, ...this.#exactly('videoinput') } });
  }

  /** @returns {Promise<MediaStreamTrack>} */
  openMicrophone() {
    return this.#open({ audio: { ...MICROPHONE, ...this.#exactly('audioinput') } });
  }

  /** Both with one question to the person. @returns {Promise<MediaStream>} */
  async openBoth() {
    const stream = await media().getUserMedia({
      audio: { ...MICROPHONE, ...this.#exactly('audioinput') },
      video: { ...CAMERA, ...this.#exactly('videoinput') },
    });
    await this.list();
    return stream;
  }

  /** Fills the lists to choose from. */
  async list() {
    const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
    for (const select of selects()) {
      const kind = /** @type {DeviceKind} */ (select.dataset.device);
      const usable = devices.filter((device) => device.kind === kind && device.deviceId !== '');
      // What was chosen and then pulled out would only fail to open.
      const chosen = this.chosen[kind];
      if (chosen && !usable.some(({ deviceId }) => deviceId === chosen)) delete this.chosen[kind];
      const options = usable.map(({ deviceId, label }, index) =>
        new Option(label || `${NAMES[kind]} ${index + 1}`, deviceId, false, deviceId === this.chosen[kind]));
      const none = kind === 'audiooutput' ? 'As your system has it' : 'None found';
      if (options.length === 0) options.push(new Option(none, ''));
      select.replaceChildren(...options);
      select.disabled = usable.length === 0;
    }
  }

  /** @param {MediaStreamConstraints} constraints */
  async #open(constraints) {
    const [track] = (await media().getUserMedia(constraints)).getTracks();
    await this.list();
    return track;
  }

  /** @param {DeviceKind} kind */
  #exactly(kind) {
    const id = this.chosen[kind];
    return id ? { deviceId: { exact: id } } : {};
  }
}

function media() {
  if (!navigator.mediaDevices) throw new DOMException('not a secure context', 'SecurityError');
  return navigator.mediaDevices;
}

/** @returns {NodeListOf<HTMLSelectElement>} */
function selects() {
  return document.querySelectorAll('select[data-device]');
}
