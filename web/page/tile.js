// One person, or one shared screen, on the stage. Until an authenticated picture is there, a quiet face stands in; when
// the picture comes by another way, the old one stays until the new one has shown its first frame.

import { el, text, within } from './view.js';

/** How many of the quiet colours in call.css there are. */
const COLOURS = 8;

/** @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return letters.map((word) => [...word][0]?.toUpperCase() ?? '').join('') || '?';
}

/** @param {string} name @returns {number} The same colour for the same name. */
export function colourOf(name) {
  let sum = 7;
  for (const letter of name) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 65_521;
  return sum % COLOURS;
}

export class Tile {
  /** @type {HTMLElement} */ element;
  /** @type {MediaStreamTrack | null} */ #video = null;
  /** What is seen. @type {HTMLVideoElement} */ #picture;
  /** What waits behind it for its first frame. @type {HTMLVideoElement | null} */ #next = null;
  #sound;

  /** @param {{id: string, name: string, source: 'camera' | 'screen', self: boolean}} of */
  constructor({ id, name, source, self }) {
    const template = el('tile-template', HTMLTemplateElement);
    this.element = within(/** @type {DocumentFragment} */ (template.content.cloneNode(true)), '.tile');
    this.#picture = /** @type {HTMLVideoElement} */ (within(this.element, 'video'));
    this.#sound = /** @type {HTMLAudioElement} */ (within(this.element, 'audio'));
    const { dataset } = this.element;
    dataset.source = source;
    if (source === 'camera') dataset.participant = id;
    else dataset.screenOf = id;
    if (self) dataset.self = '';
    this.rename(name, self);
    this.#watchShape(this.#picture);
  }

  /**
   * @param {string} name
   * @param {boolean} self
   */
  rename(name, self) {
    const { dataset } = this.element;
    const screen = dataset.source === 'screen';
    const shown = screen ? `${name}'s screen` : self ? `${name} (you)` : name;
    dataset.name = name;
    dataset.colour = String(colourOf(name));
    this.element.setAttribute('aria-label', shown);
    within(this.element, '.tile-name').textContent = shown;
    within(this.element, '.face span').textContent = initials(name);
  }

  /** @param {MediaStreamTrack | null} track */
  showVideo(track) {
    if (this.#video === track) return;
    this.#video = track;
    this.#forget();
    if (!track) {
      delete this.element.dataset.lit;
      this.#picture.srcObject = null;
      return;
    }
    const place = this.element.dataset.lit === undefined ? this.#picture : this.#prepare();
    place.srcObject = new MediaStream([track]);
    const shown = () => {
      if (this.#video === track) this.#swap(place);
    };
    if ('requestVideoFrameCallback' in place) place.requestVideoFrameCallback(shown);
    else /** @type {HTMLVideoElement} */ (place).addEventListener('loadeddata', shown, { once: true });
    void place.play().catch(() => {});
  }

  /**
   * @param {MediaStreamTrack | null} track
   * @returns {Promise<boolean>} False when the browser wants a click before it plays sound.
   */
  async playAudio(track) {
    this.#sound.srcObject = track ? new MediaStream([track]) : null;
    return this.resume();
  }

  async resume() {
    if (!this.#sound.srcObject) return true;
    try {
      await this.#sound.play();
      return true;
    } catch (error) {
      return !(error instanceof DOMException && error.name === 'NotAllowedError');
    }
  }

  /** @param {string} device */
  async speakThrough(device) {
    const sound = /** @type {HTMLAudioElement & {setSinkId?: (id: string) => Promise<void>}} */ (this.#sound);
    await sound.setSinkId?.(device);
  }

  /** @param {boolean} speaking */
  set speaking(speaking) {
    this.element.toggleAttribute('data-speaking', speaking);
  }

  /** @param {boolean} muted */
  set muted(muted) {
    within(this.element, '.tile-muted').toggleAttribute('hidden', !muted);
    const said = this.element.getAttribute('aria-label')?.replace(/, muted$/, '') ?? '';
    this.element.setAttribute('aria-label', muted ? `${said}, muted` : said);
  }

  /** A sentence over the tile; empty for none. @param {string} sentence */
  set note(sentence) {
    const place = within(this.element, '.tile-note');
    if (place.textContent === sentence) return;
    place.hidden = sentence === '';
    place.replaceChildren(...(sentence ? [text('span', sentence)] : []));
  }

  /** @param {import('./grid.js').Box} box */
  place({ x, y, width, height }) {
    const { style } = this.element;
    style.transform = `translate(${x}px, ${y}px)`;
    style.width = `${width}px`;
    style.height = `${height}px`;
    style.setProperty('--tile', `${Math.min(width, height)}px`);
  }

  remove() {
    this.#forget();
    this.#picture.srcObject = null;
    this.#sound.srcObject = null;
    this.element.remove();
  }

  /** A second picture behind the one that is seen: a browser presents no frames of what is not laid out. */
  #prepare() {
    const next = /** @type {HTMLVideoElement} */ (this.#picture.cloneNode());
    next.muted = true;
    this.#watchShape(next);
    this.#picture.before(next);
    this.#next = next;
    return next;
  }

  /** @param {HTMLVideoElement} place Where the first frame of the newest track is now. */
  #swap(place) {
    this.element.dataset.lit = '';
    if (place === this.#picture) return;
    this.#picture.srcObject = null;
    this.#picture.remove();
    this.#picture = place;
    this.#next = null;
    this.#tellShape(place);
  }

  #forget() {
    if (!this.#next) return;
    this.#next.srcObject = null;
    this.#next.remove();
    this.#next = null;
  }

  /** @param {HTMLVideoElement} picture */
  #watchShape(picture) {
    picture.addEventListener('resize', () => this.#tellShape(picture));
  }

  /** @param {HTMLVideoElement} picture */
  #tellShape(picture) {
    if (picture !== this.#picture) return;
    this.element.dataset.upright = String(picture.videoHeight > picture.videoWidth);
  }
}
