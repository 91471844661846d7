// Who speaks: measured from our own microphone and told to the others inside the encryption, at a constant rate and
// size (e2ee.md rule 23), since audio levels in packet headers would tell the relay.

/** Milliseconds between hints: quick enough to follow a conversation, slow enough for a large call's relay. */
export const HINT_MS = 250;
/** A speaker whose hints stop, for this many milliseconds, is silent. */
export const STALE_MS = 1_500;
/** From this level on someone speaks; they stop below STOP for HOLD_MS, so that pauses between words do not flicker. */
const START = 4;
const STOP = 3;
const HOLD_MS = 700;
/** Decibels (full scale) of level 0 and level 9: room noise and a raised voice. */
const FLOOR_DB = -60;
const CEILING_DB = -20;

/**
 * One digit, so that every hint has the same size.
 * @param {number} rms In [0, 1].
 * @returns {number} 0 to 9.
 */
export function levelOf(rms) {
  if (!(rms > 0)) return 0;
  const db = 20 * Math.log10(rms);
  const level = Math.round(((db - FLOOR_DB) / (CEILING_DB - FLOOR_DB)) * 9);
  return Math.min(9, Math.max(0, level));
}

/** Levels of one participant in, "speaks" or "does not" out. */
export class Speaker {
  speaking = false;
  level = 0;
  #heard = -Infinity;
  #loud = -Infinity;

  /**
   * @param {unknown} level As received; anything but a digit counts as silence.
   * @param {number} now Milliseconds.
   * @returns {boolean} Whether `speaking` changed.
   */
  hear(level, now) {
    this.level = typeof level === 'number' && level >= 0 && level <= 9 ? Math.floor(level) : 0;
    this.#heard = now;
    if (this.level >= (this.speaking ? STOP : START)) this.#loud = now;
    return this.tick(now);
  }

  /**
   * @param {number} now
   * @returns {boolean} Whether `speaking` changed.
   */
  tick(now) {
    const before = this.speaking;
    this.speaking = now - this.#loud < HOLD_MS && now - this.#heard < STALE_MS;
    return before !== this.speaking;
  }
}

/**
 * Everybody's levels, as they are told to the page.
 * @typedef {import('./participant.js').Participant} Participant
 */
export class Speakers {
  /** @type {Map<Participant, Speaker>} */ #speakers = new Map();
  #changed;
  #now;

  /**
   * @param {(participant: Participant) => void} changed
   * @param {() => number} [now] Milliseconds.
   */
  constructor(changed, now = () => performance.now()) {
    this.#changed = changed;
    this.#now = now;
  }

  /**
   * @param {Participant} participant
   * @param {unknown} level
   */
  hear(participant, level) {
    let speaker = this.#speakers.get(participant);
    if (!speaker) this.#speakers.set(participant, (speaker = new Speaker()));
    speaker.hear(level, this.#now());
    this.#tell(participant, speaker);
  }

  /** Time went by: whoever was not heard for a while no longer speaks. */
  tick() {
    for (const [participant, speaker] of this.#speakers) {
      if (speaker.tick(this.#now())) this.#tell(participant, speaker);
    }
  }

  /** @param {Participant} participant */
  forget(participant) {
    this.#speakers.delete(participant);
  }

  /**
   * @param {Participant} participant
   * @param {Speaker} speaker
   */
  #tell(participant, { speaking, level }) {
    if (participant.speaking === speaking && participant.level === level) return;
    participant.speaking = speaking;
    participant.level = level;
    this.#changed(participant);
  }
}

/** Listens to the microphone, and calls back with a level at a constant rate until it is closed. */
export class Meter {
  #context;
  #analyser;
  /** @type {MediaStreamAudioSourceNode | undefined} */ #source;
  /** @type {MediaStreamTrack | undefined} */ #track;
  #samples;
  #timer;

  /** @param {(level: number) => void} hint */
  constructor(hint) {
    this.#context = new AudioContext();
    this.#analyser = this.#context.createAnalyser();
    this.#analyser.fftSize = 2048;
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#timer = setInterval(() => hint(this.#level()), HINT_MS);
  }

  /** @param {MediaStreamTrack} track */
  listen(track) {
    if (this.#track === track) return;
    this.#source?.disconnect();
    this.#track = track;
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
  }

  close() {
    clearInterval(this.#timer);
    this.#source?.disconnect();
    void this.#context.close();
  }

  #level() {
    if (!this.#track?.enabled) return 0;
    // Browsers hold audio back until the person has touched the page.
    if (this.#context.state === 'suspended') void this.#context.resume();
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    return levelOf(Math.sqrt(sum / this.#samples.length));
  }
}
