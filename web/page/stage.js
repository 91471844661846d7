// The stage: a tile for everybody, a large one for a shared screen, and the sizes that the relay is asked for.

import { pack, present } from './grid.js';
import { Tile } from './tile.js';

/**
 * @typedef {import('../sdk/sotto.js').Call} Call
 * @typedef {import('../sdk/sotto.js').Participant} Participant
 */

/** Pixels between tiles, on small and on large stages. */
const GAP = { small: 6, large: 10, from: 480 };
/** Milliseconds of quiet after which changed sizes are told to the relay. */
const SETTLE_MS = 200;

export class Stage {
  #place;
  #call;
  #soundBlocked;
  /** @type {Map<Participant, Tile>} */ #people = new Map();
  /** @type {Map<Participant, Tile>} */ #screens = new Map();
  /** @type {ResizeObserver} */ #watch;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #settling;
  /** @type {number | undefined} */ #drawing;
  #speaker = '';

  /**
   * @param {HTMLElement} place
   * @param {Call} call
   * @param {(blocked: boolean) => void} soundBlocked
   */
  constructor(place, call, soundBlocked) {
    this.#place = place;
    this.#call = call;
    this.#soundBlocked = soundBlocked;
    this.#watch = new ResizeObserver(() => this.#arrange());
    this.#watch.observe(place);
    this.update(call.self);
    for (const participant of call.participants) this.update(participant);
  }

  /** How many people are shown. */
  get count() {
    return this.#people.size;
  }

  /** @param {Participant} participant Who came, or changed. */
  update(participant) {
    const tile = this.#person(participant);
    const camera = participant.streams.get('camera') ?? null;
    tile.showVideo(camera);
    tile.muted = participant.microphone === false;
    tile.note = noteOn(participant);
    tile.element.toggleAttribute('data-away', !participant.present);
    const screen = participant.streams.get('screen');
    // Our own screen is in front of us already.
    if (screen && !participant.self) this.#screen(participant).showVideo(screen);
    else this.#dropScreen(participant);
    this.#arrange();
  }

  /**
   * @param {Participant} participant
   * @param {import('../sdk/sotto.js').Source} source
   * @param {MediaStreamTrack | null} track
   */
  async track(participant, source, track) {
    if (source === 'microphone' || source === 'screen-audio') {
      if (participant.self) return;
      const tile = source === 'microphone' ? this.#person(participant) : this.#screen(participant);
      if (this.#speaker) await tile.speakThrough(this.#speaker).catch(() => {});
      if (!(await tile.playAudio(track))) this.#soundBlocked(true);
      if (source === 'screen-audio' && !track) this.#dropScreen(participant);
    }
    if (this.#people.has(participant)) this.update(participant);
  }

  /** @param {Participant} participant */
  remove(participant) {
    this.#people.get(participant)?.remove();
    this.#people.delete(participant);
    this.#screens.get(participant)?.remove();
    this.#screens.delete(participant);
    this.#arrange();
  }

  /**
   * @param {Participant} participant
   * @param {boolean} speaking
   */
  speaking(participant, speaking) {
    const tile = this.#people.get(participant);
    if (tile) tile.speaking = speaking;
  }

  /** After a click: plays what the browser held back. */
  async resume() {
    const played = await Promise.all(this.#tiles().map((tile) => tile.resume()));
    this.#soundBlocked(played.includes(false));
  }

  /** @param {string} device Through which all sound is played. */
  async speakThrough(device) {
    this.#speaker = device;
    await Promise.allSettled(this.#tiles().map((tile) => tile.speakThrough(device)));
  }

  close() {
    this.#watch.disconnect();
    clearTimeout(this.#settling);
    if (this.#drawing !== undefined) cancelAnimationFrame(this.#drawing);
    for (const participant of [...this.#people.keys()]) this.remove(participant);
    if (this.#drawing !== undefined) cancelAnimationFrame(this.#drawing);
  }

  #tiles() {
    return [...this.#people.values(), ...this.#screens.values()];
  }

  /** @param {Participant} participant */
  #person(participant) {
    let tile = this.#people.get(participant);
    if (!tile) {
      tile = new Tile({ id: participant.id, name: participant.name, source: 'camera', self: participant.self });
      this.#people.set(participant, tile);
      this.#place.append(tile.element);
    }
    tile.element.dataset.participant = participant.id;
    return tile;
  }

  /** @param {Participant} participant */
  #screen(participant) {
    let tile = this.#screens.get(participant);
    if (!tile) {
      tile = new Tile({ id: participant.id, name: participant.name, source: 'screen', self: false });
      this.#screens.set(participant, tile);
      this.#place.prepend(tile.element);
    }
    return tile;
  }

  /** @param {Participant} participant */
  #dropScreen(participant) {
    if (participant.streams.has('screen') || participant.streams.has('screen-audio')) return;
    this.#screens.get(participant)?.remove();
    this.#screens.delete(participant);
  }

  #arrange() {
    if (this.#drawing !== undefined) return;
    this.#drawing = requestAnimationFrame(() => {
      this.#drawing = undefined;
      this.#draw();
    });
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#place;
    if (width === 0 || height === 0) return;
    const stage = { width, height, gap: Math.min(width, height) < GAP.from ? GAP.small : GAP.large };
    // Ourselves last: the others are who we came for.
    const people = [...this.#people].sort(([a], [b]) => Number(a.self) - Number(b.self)).map(([, tile]) => tile);
    const shown = [...this.#screens.values()].at(-1);
    for (const tile of this.#screens.values()) tile.element.hidden = tile !== shown;
    this.#place.toggleAttribute('data-presenting', shown !== undefined);
    const boxes = shown ? present(people.length, stage) : { screen: null, tiles: pack(people.length, stage) };
    if (shown && boxes.screen) shown.place(boxes.screen);
    for (const [index, tile] of people.entries()) tile.place(boxes.tiles[index]);
    this.#place.dataset.count = String(people.length);
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#ask(), SETTLE_MS);
  }

  #ask() {
    for (const [participant, tile] of this.#people) {
      if (!participant.self) this.#call.show(participant, 'camera', tile.element.offsetHeight);
    }
    for (const [participant, tile] of this.#screens) {
      this.#call.show(participant, 'screen', tile.element.hidden ? 0 : tile.element.offsetHeight);
    }
  }
}

/** @param {Participant} participant */
function noteOn(participant) {
  if (participant.self) return '';
  if (!participant.present) return 'Reconnecting…';
  const names = { camera: 'video', microphone: 'voice', screen: 'screen', 'screen-audio': 'screen sound' };
  const things = [...participant.unverified].map((source) => names[source]);
  if (things.length > 0) return `${participant.name}'s ${things.join(' and ')} cannot be verified, so it is not shown.`;
  return '';
}
