// Somebody in the call, as the other members have authenticated them.

/** @typedef {import('./transport.js').Source} Source */

export class Participant {
  /** Random for each connection: somebody who reconnects gets another one. @type {string} */ id;
  /** As they call themselves, sealed end to end; nobody vouches for it but they. @type {string} */ name;
  /** Whether this is us. @type {boolean} */ self;
  /** What arrives, and was authenticated as theirs. @type {Map<Source, MediaStreamTrack>} */ streams = new Map();
  /** What they publish, whether or not we receive it. @type {Set<Source>} */ published = new Set();
  /** What arrived under their name and could not be authenticated. @type {Set<Source>} */ unverified = new Set();
  /** Whether their microphone is on, as they say; undefined until they have said so. @type {boolean | undefined} */
  microphone = undefined;
  speaking = false;
  /** How loud, from 0 to 9. */
  level = 0;
  /** False while the two of us are finding each other again after a reconnection. */
  present = true;

  /**
   * @param {string} id
   * @param {string} name
   * @param {boolean} [self]
   */
  constructor(id, name, self = false) {
    this.id = id;
    this.name = name;
    this.self = self;
  }

  /** Their keys were exchanged and nothing forged has arrived under their name. */
  get verified() {
    return this.present && this.unverified.size === 0;
  }
}
