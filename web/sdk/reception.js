// What arrives from the others, over one path or over both while the call moves: of each source one track is shown,
// and another takes its place only once it has begun to be seen or heard.

import { kindOf } from './transport.js';

/**
 * @typedef {import('./path.js').Kind} Kind
 * @typedef {import('./slots.js').Owner} Owner
 *
 * @typedef {object} Source
 * @property {Owner} owner
 * @property {Kind | null} shown
 * @property {Record<Kind, MediaStreamTrack | null>} tracks
 * @property {AbortController | null} waiting Until the track of the preferred path can be shown.
 *
 * @typedef {object} Hooks
 * @property {(owner: Owner, track: MediaStreamTrack | null) => void} show
 * @property {(kind: Kind, track: MediaStreamTrack, signal: AbortSignal) => Promise<void>} presented
 * @property {() => void} moved Something is shown over another path than before.
 */

export class Reception {
  /** @type {Map<string, Source>} */ #sources = new Map();
  /** @type {Kind} */ #preferred = 'forwarded';
  #hooks;

  /** @param {Hooks} hooks */
  constructor(hooks) {
    this.#hooks = hooks;
  }

  /** @param {Owner} owner @returns {Kind | null} The path over which it is shown. */
  via({ participant, stream }) {
    return this.#sources.get(`${participant} ${stream}`)?.shown ?? null;
  }

  /**
   * Something of theirs comes over that path, surely theirs; or came before and is told again to be theirs.
   * @param {Owner} owner
   * @param {Kind} kind
   * @param {MediaStreamTrack} track
   */
  arrived(owner, kind, track) {
    const source = this.#source(owner);
    if (source.tracks[kind] === track && source.shown !== kind && source.waiting) return;
    source.tracks[kind] = track;
    if (source.shown === kind || (source.shown === null && kind === 'forwarded')) this.#show(source, kind);
    else {
      silence(owner, track);
      this.#move(source);
    }
  }

  /**
   * @param {Owner} owner
   * @param {Kind} kind
   */
  gone(owner, kind) {
    const key = `${owner.participant} ${owner.stream}`;
    const source = this.#sources.get(key);
    if (!source) return;
    source.tracks[kind] = null;
    const other = kind === 'tunnel' ? 'forwarded' : 'tunnel';
    if (!source.tracks[other]) {
      source.waiting?.abort();
      this.#sources.delete(key);
      if (source.shown !== null) this.#hooks.show(source.owner, null);
    } else if (source.shown !== other) {
      this.#show(source, other);
    } else {
      source.waiting?.abort();
      source.waiting = null;
    }
  }

  /** All that came over that path is gone. @param {Kind} kind */
  lost(kind) {
    for (const { owner, tracks } of [...this.#sources.values()]) if (tracks[kind]) this.gone(owner, kind);
  }

  /** Moves all that can be moved to that path. @param {Kind} kind */
  prefer(kind) {
    if (this.#preferred === kind) return;
    this.#preferred = kind;
    for (const source of this.#sources.values()) {
      source.waiting?.abort();
      source.waiting = null;
      this.#move(source);
    }
  }

  /** @param {Owner} owner @returns {Source} */
  #source(owner) {
    const key = `${owner.participant} ${owner.stream}`;
    let source = this.#sources.get(key);
    if (!source) {
      source = { owner, shown: null, tracks: { tunnel: null, forwarded: null }, waiting: null };
      this.#sources.set(key, source);
    }
    return source;
  }

  /** Waits for the preferred path's track to be presented, where another or none is shown. @param {Source} source */
  #move(source) {
    const kind = source.shown === null ? (source.tracks.tunnel ? 'tunnel' : 'forwarded') : this.#preferred;
    const track = source.tracks[kind];
    if (!track || source.shown === kind || source.waiting) return;
    const waiting = (source.waiting = new AbortController());
    void this.#hooks.presented(kind, track, waiting.signal).then(() => {
      if (waiting.signal.aborted || source.tracks[kind] !== track) return;
      this.#show(source, kind);
    });
  }

  /**
   * Shows one track, and in the same task takes the sound from the other, so that nobody is heard twice.
   * @param {Source} source
   * @param {Kind} kind
   */
  #show(source, kind) {
    source.waiting?.abort();
    source.waiting = null;
    const track = /** @type {MediaStreamTrack} */ (source.tracks[kind]);
    const other = source.tracks[kind === 'tunnel' ? 'forwarded' : 'tunnel'];
    if (other) silence(source.owner, other);
    track.enabled = true;
    const moved = source.shown !== kind;
    source.shown = kind;
    this.#hooks.show(source.owner, track);
    if (moved) this.#hooks.moved();
    this.#move(source);
  }
}

/**
 * A picture may go on for a moment behind its successor; sound may not.
 * @param {Owner} owner
 * @param {MediaStreamTrack} track
 */
function silence({ stream }, track) {
  if (kindOf(stream) === 'audio') track.enabled = false;
}
