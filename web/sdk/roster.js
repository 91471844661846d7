// Who is in the call: those whom the encryption has authenticated, of those who the relay says are connected. What they
// publish is asked for once both say so, and what arrives is theirs only then.

import { Participant } from './participant.js';
import { isSource, kindOf } from './transport.js';

/**
 * @typedef {import('./transport.js').Source} Source
 * @typedef {object} Hooks
 * @property {(participant: Participant, change: 'joined' | 'left' | 'changed') => void} changed
 * @property {(participant: Participant, source: Source, track: MediaStreamTrack | null) => void} track
 * @property {(id: string, source: Source, height: number) => void} want Asks the relay for a publication.
 * @property {(id: string, source: Source, height: number) => void} size How tall a picture is shown.
 */

/** Height, in device pixels, in which a picture is asked for until the page says how large it shows it. */
const FIRST_HEIGHT = 360;
/** Milliseconds for which people whom we have seen before may take to be authenticated again after we reconnected. */
const REUNION_MS = 8_000;

export class Roster {
  /** @type {Map<string, Participant>} */ #participants = new Map();
  /** Who is connected and what they publish, says the relay. @type {Map<string, Set<Source>>} */ #connected = new Map();
  /** What comes through the tunnel, says the other one. @type {{id: string, streams: Set<Source>}} */
  #tunnelled = { id: '', streams: new Set() };
  /** The names of the others by their ids, says the encryption. @type {Map<string, string>} */ #authentic = new Map();
  /** Heights that the page asked for, by participant and source. @type {Map<string, number>} */ #heights = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #reunion;
  #hooks;

  /** @param {Hooks} hooks */
  constructor(hooks) {
    this.#hooks = hooks;
  }

  /** In the order in which they came. @returns {Participant[]} */
  get participants() {
    return [...this.#participants.values()];
  }

  /** Whether nobody else is authenticated. */
  get alone() {
    return this.#authentic.size === 0;
  }

  /** @param {string} id @returns {Participant | undefined} */
  get(id) {
    return this.#participants.get(id);
  }

  /**
   * A new connection. Whom we knew must prove themselves anew: until then we hold no key of theirs, and ask for nothing.
   * @param {{id: string, streams: string[]}[]} connected
   */
  reset(connected) {
    this.#connected = new Map(connected.map(({ id, streams }) => [id, new Set(streams.filter(isSource))]));
    this.#authentic.clear();
    this.#tunnelled = { id: '', streams: new Set() };
    clearTimeout(this.#reunion);
    this.#reunion = setTimeout(() => {
      this.#reunion = undefined;
      this.#apply();
    }, REUNION_MS);
    this.#apply();
  }

  /** @param {{id: string, name: string}[]} others All whom the encryption vouches for. */
  authenticate(others) {
    this.#authentic = new Map(others.map(({ id, name }) => [id, name]));
    this.#apply();
  }

  /** @param {string} id */
  arrived(id) {
    this.#connected.set(id, new Set());
  }

  /** @param {string} id */
  departed(id) {
    this.#connected.delete(id);
    const participant = this.#participants.get(id);
    if (participant) this.#remove(participant);
  }

  /**
   * @param {string} id
   * @param {string} source
   */
  published(id, source) {
    if (!isSource(source)) return;
    this.#connected.get(id)?.add(source);
    const participant = this.#participants.get(id);
    if (!participant) return;
    participant.published.add(source);
    this.#want(id, source);
    this.#hooks.changed(participant, 'changed');
  }

  /**
   * @param {string} id
   * @param {string} source
   */
  unpublished(id, source) {
    if (!isSource(source)) return;
    this.#connected.get(id)?.delete(source);
    const participant = this.#participants.get(id);
    if (!participant) return;
    participant.published = this.#published(id);
    participant.unverified.delete(source);
    this.#hooks.changed(participant, 'changed');
  }

  /**
   * @param {string} id
   * @param {Set<Source>} streams All that they send through the tunnel.
   */
  tunnelled(id, streams) {
    this.#tunnelled = { id, streams: new Set(streams) };
    const participant = this.#participants.get(id);
    if (!participant) return;
    participant.published = this.#published(id);
    this.#hooks.changed(participant, 'changed');
  }

  /** A new connection to the relay: it has been asked for nothing yet. */
  askAgain() {
    for (const [id, sources] of this.#connected) for (const source of sources) this.#want(id, source);
  }

  /**
   * @param {string} id
   * @param {Source} source
   * @param {number} height In device pixels; 0 for nothing.
   */
  size(id, source, height) {
    this.#heights.set(`${id} ${source}`, height);
    this.#hooks.size(id, source, height);
    this.#want(id, source);
  }

  /**
   * Something authenticated arrives, or no longer does.
   * @param {import('./slots.js').Owner} owner
   * @param {MediaStreamTrack | null} track
   * @param {Participant} [participant] Where they have been removed already.
   */
  show({ participant: id, stream }, track, participant = this.#participants.get(id)) {
    if (!participant || !isSource(stream)) return;
    if (track === null && !participant.streams.delete(stream)) return;
    const doubted = track !== null && participant.unverified.delete(stream);
    if (doubted) this.#hooks.changed(participant, 'changed');
    if (track && participant.streams.get(stream) === track) return;
    if (track) participant.streams.set(stream, track);
    this.#hooks.track(participant, stream, track);
  }

  close() {
    clearTimeout(this.#reunion);
  }

  /** Makes the participants those whom the encryption has authenticated. */
  #apply() {
    for (const [id, participant] of this.#participants) {
      if (this.#authentic.has(id)) continue;
      // Just after a reconnection, those who are still connected get a moment to be authenticated again.
      if (this.#reunion !== undefined && this.#connected.has(id)) this.#setPresent(participant, false);
      else this.#remove(participant);
    }
    for (const [id, name] of this.#authentic) {
      let participant = this.#participants.get(id);
      if (!participant) {
        participant = new Participant(id, name);
        participant.published = this.#published(id);
        this.#participants.set(id, participant);
        this.#hooks.changed(participant, 'joined');
      }
      this.#setPresent(participant, true);
      participant.published = this.#published(id);
      for (const source of participant.published) this.#want(id, source);
    }
  }

  /** @param {string} id @returns {Set<Source>} By the relay and through the tunnel. */
  #published(id) {
    return new Set([...this.#connected.get(id) ?? [], ...(this.#tunnelled.id === id ? this.#tunnelled.streams : [])]);
  }

  /**
   * @param {Participant} participant
   * @param {boolean} present
   */
  #setPresent(participant, present) {
    if (participant.present === present) return;
    participant.present = present;
    this.#hooks.changed(participant, 'changed');
  }

  /** @param {Participant} participant */
  #remove(participant) {
    this.#participants.delete(participant.id);
    for (const stream of [...participant.streams.keys()]) {
      this.show({ participant: participant.id, stream }, null, participant);
    }
    for (const key of this.#heights.keys()) if (key.startsWith(`${participant.id} `)) this.#heights.delete(key);
    this.#hooks.changed(participant, 'left');
  }

  /**
   * Asks for a publication, if its owner is one whom the encryption vouches for.
   * @param {string} id
   * @param {Source} source
   */
  #want(id, source) {
    if (!this.#authentic.has(id) || !this.#connected.get(id)?.has(source)) return;
    const height = kindOf(source) === 'audio' ? 1 : this.#heights.get(`${id} ${source}`) ?? FIRST_HEIGHT;
    this.#hooks.want(id, source, height);
  }
}
