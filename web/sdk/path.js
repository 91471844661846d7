// Which path the media of two people takes: when the tunnel is opened, when one path is left for the other, and when
// the tunnel is given up. It knows nothing of browsers: it is told facts and the time, and says what to do.

/**
 * @typedef {'tunnel' | 'forwarded'} Kind
 *
 * @typedef {object} Facts
 * @property {string} self Our id.
 * @property {boolean} wanted Our setting.
 * @property {boolean} allowed The operator's.
 * @property {number} others How many others are connected, says the relay.
 * @property {{id: string, tunnel: boolean}[]} roster The others whom the encryption vouches for.
 * @property {boolean} base Whether the forwarded connection carries media.
 * @property {boolean} up Whether the tunnel does.
 * @property {Record<Kind, boolean>} shown Whether all that the other one sends, and we want, is shown over that path.
 *
 * @typedef {object} Acts
 * @property {(peer: string) => void} open Builds the tunnel and offers it.
 * @property {() => void} close Closes the tunnel.
 * @property {(failed: boolean) => void} end Tells the other one that this tunnel is to end.
 * @property {() => void} attach Opens the forwarded connection.
 * @property {() => void} detach Closes it.
 * @property {(kind: Kind) => void} prefer Which path's media is to be shown, as soon as it can be.
 * @property {(peer: string, kind: Kind) => void} over Tells the other one that we no longer need that path of theirs.
 * @property {(kind: Kind) => void} changed The tunnel alone is in use, or no longer.
 * @property {() => void} gaveUp The tunnel was tried often enough.
 */

/** Milliseconds in which the tunnel must come up; on a good network it takes a tenth of a second. */
export const OPEN_MS = 8_000;
/** Milliseconds in which both must have moved to it: the slowest waits for a key frame and for the other's word. */
export const CROSS_MS = 8_000;
/** Milliseconds for which two must have remained before a call that was larger moves back to the tunnel. */
export const PATIENCE_MS = 10_000;
/**
 * Milliseconds for which what was shown before is kept, so that a page can exchange elements without a gap: a tenth of
 * it where the machine has time, and all of it where it starts encoders meanwhile.
 */
export const LINGER_MS = 1_000;
/** Milliseconds after our last need of the tunnel in which the other one may still want it. */
export const PEER_MS = 5_000;
/** Milliseconds after which the tunnel is left behind even if not all came over the forwarded connection. */
export const RETURN_MS = 15_000;
/** How often a tunnel that failed is tried again. */
export const RETRIES = 3;
/** Milliseconds before the first of them; each waits four times as long as the one before. */
export const RETRY_MS = 2_000;
/** Milliseconds in the tunnel after which earlier failures say nothing any more. */
const STEADY_MS = 60_000;

export class Path {
  /** @type {'forwarded' | 'opening' | 'crossing' | 'tunnel' | 'returning'} */ #phase = 'forwarded';
  /** When the phase began. */ #since = 0;
  /** With whom the tunnel is. @type {string | null} */ #peer = null;
  /** Since when all is shown over the path that we move to. @type {number | null} */ #shownSince = null;
  /** When we said that we no longer need the path that we leave. @type {number | null} */ #saidAt = null;
  /** @type {Set<Kind>} */ #peerOver = new Set();
  /** Until when the call was larger than two; it is now where this is infinite. */ #crowdedUntil = -Infinity;
  /** Failures with one other participant. */ #failures = { peer: '', count: 0, retryAt: -Infinity };
  /** @type {Facts} */ #facts = {
    self: '', wanted: false, allowed: false, others: 0, roster: [], base: false, up: false,
    shown: { tunnel: false, forwarded: false },
  };
  #acts;
  #patience;
  /** When `update` wants to be called again, even without news. */
  deadline = Infinity;

  /**
   * @param {Acts} acts
   * @param {number} [patience]
   */
  constructor(acts, patience = PATIENCE_MS) {
    this.#acts = acts;
    this.#patience = patience;
  }

  /** @returns {Kind} `tunnel` only while nothing goes through the relay that it could hold a key of. */
  get kind() {
    return this.#phase === 'tunnel' ? 'tunnel' : 'forwarded';
  }

  /**
   * @param {number} now
   * @param {Partial<Facts>} [news]
   */
  update(now, news = {}) {
    Object.assign(this.#facts, news);
    if (this.#facts.others > 1) this.#crowdedUntil = Infinity;
    else if (this.#crowdedUntil === Infinity) this.#crowdedUntil = now;
    this.#settle(now);
  }

  /**
   * The other one offers a new tunnel.
   * @param {number} now
   * @param {string} from
   * @returns {boolean} Whether it is to be answered.
   */
  offered(now, from) {
    if (this.#fitting !== from) return false;
    if (this.#phase === 'opening') this.#acts.close();
    else if (this.#phase !== 'forwarded') {
      // Theirs ended and we have not noticed yet; they will offer again.
      this.#settle(now, true);
      return false;
    }
    this.#open(now, from);
    this.#settle(now);
    return true;
  }

  /**
   * The tunnel failed here.
   * @param {number} now
   */
  failed(now) {
    if (this.#phase === 'forwarded') return;
    if (this.#phase !== 'returning') this.#failure(now);
    this.#acts.end(true);
    this.#settle(now, true);
  }

  /**
   * The other one says that the tunnel is to end.
   * @param {number} now
   * @param {boolean} failed Whether it failed there, or is only not wanted now.
   */
  ended(now, failed) {
    if (this.#phase === 'forwarded' || this.#phase === 'returning') return;
    if (failed) this.#failure(now);
    else this.#failures.retryAt = now + RETRY_MS;
    if (this.#phase === 'opening') this.#reset(now);
    else this.#turnBack(now);
    this.#settle(now);
  }

  /**
   * The other one no longer needs that path of ours.
   * @param {number} now
   * @param {string} from
   * @param {Kind} kind
   */
  peerOver(now, from, kind) {
    if (from !== this.#peer) return;
    this.#peerOver.add(kind);
    this.#settle(now);
  }

  /**
   * What was said before about the paths was about an earlier tunnel: the two agree on a new one now.
   */
  agreed() {
    this.#peerOver.clear();
  }

  /** With whom a tunnel fits. @returns {string | null} */
  get #fitting() {
    const { wanted, allowed, others, roster } = this.#facts;
    return wanted && allowed && others === 1 && roster.length === 1 && roster[0].tunnel ? roster[0].id : null;
  }

  /** Whether the one at the other end is gone. */
  get #gone() {
    return !this.#facts.roster.some(({ id }) => id === this.#peer);
  }

  /**
   * @param {number} now
   * @param {boolean} [dead] Whether the tunnel has just failed.
   */
  #settle(now, dead = false) {
    for (let before = null; before !== this.#phase;) {
      before = this.#phase;
      this.deadline = Infinity;
      switch (before) {
        case 'forwarded': this.#begin(now); break;
        case 'opening': this.#await(now, dead); break;
        case 'crossing': this.#cross(now, dead); break;
        case 'tunnel': if (dead || this.#fitting !== this.#peer) this.#turnBack(now); break;
        case 'returning': this.#return(now, dead); break;
      }
    }
  }

  /** @param {number} now */
  #begin(now) {
    const peer = this.#fitting;
    if (peer === null || !this.#facts.base || this.#facts.self <= peer) return; // The other one offers.
    if (this.#failures.peer !== peer) this.#failures = { peer, count: 0, retryAt: -Infinity };
    if (this.#failures.count > RETRIES) return;
    if (!this.#past(now, Math.max(this.#crowdedUntil + this.#patience, this.#failures.retryAt))) return;
    this.#open(now, peer);
    this.#acts.open(peer);
  }

  /**
   * @param {number} now
   * @param {string} peer
   */
  #open(now, peer) {
    if (this.#failures.peer !== peer) this.#failures = { peer, count: 0, retryAt: -Infinity };
    this.#peer = peer;
    this.#peerOver.clear();
    this.#facts.up = false;
    this.#facts.shown = { ...this.#facts.shown, tunnel: false };
    this.#enter(now, 'opening');
  }

  /**
   * @param {number} now
   * @param {boolean} dead
   */
  #await(now, dead) {
    if (dead) this.#reset(now);
    else if (this.#fitting !== this.#peer) {
      this.#acts.end(false);
      this.#reset(now);
    } else if (this.#facts.up) {
      this.#enter(now, 'crossing');
      this.#acts.prefer('tunnel');
    } else if (this.#past(now, this.#since + OPEN_MS)) {
      this.#failure(now);
      this.#acts.end(true);
      this.#reset(now);
    }
  }

  /**
   * @param {number} now
   * @param {boolean} dead
   */
  #cross(now, dead) {
    if (dead || this.#fitting !== this.#peer) return this.#turnBack(now);
    // Before it was up there was no call to move.
    this.#say(now, 'forwarded', this.#facts.base && this.#facts.shown.tunnel);
    if (this.#saidAt !== null && this.#peerOver.has('forwarded')) {
      this.#facts.base = false;
      this.#facts.shown = { ...this.#facts.shown, forwarded: false };
      this.#enter(now, 'tunnel');
      this.#acts.detach();
      this.#acts.changed('tunnel');
    } else if (this.#past(now, this.#since + CROSS_MS)) {
      this.#failure(now);
      this.#acts.end(true);
      this.#turnBack(now);
    }
  }

  /** @param {number} now */
  #turnBack(now) {
    const attached = this.#phase !== 'tunnel';
    if (!attached && now - this.#since > STEADY_MS) this.#failures.count = Math.min(this.#failures.count, 1);
    const wasFit = this.#fitting === this.#peer;
    this.#enter(now, 'returning');
    if (!wasFit && !this.#gone) this.#acts.end(false);
    if (!attached) this.#acts.attach();
    this.#acts.prefer('forwarded');
    if (!attached) this.#acts.changed('forwarded');
  }

  /**
   * @param {number} now
   * @param {boolean} dead
   */
  #return(now, dead) {
    if (dead || this.#gone) return this.#reset(now);
    this.#say(now, 'tunnel', this.#facts.base && this.#facts.shown.forwarded);
    const spared = this.#saidAt !== null && (this.#peerOver.has('tunnel') || this.#past(now, this.#saidAt + PEER_MS));
    if (spared || this.#past(now, this.#since + RETURN_MS)) this.#reset(now);
  }

  /**
   * Says, once, that a path is no longer needed, when all has been shown over the other one for a while.
   * @param {number} now
   * @param {Kind} left
   * @param {boolean} shown
   */
  #say(now, left, shown) {
    if (this.#saidAt !== null) return;
    if (!shown) {
      this.#shownSince = null;
      return;
    }
    this.#shownSince ??= now;
    if (!this.#past(now, this.#shownSince + LINGER_MS)) return;
    this.#saidAt = now;
    this.#acts.over(/** @type {string} */ (this.#peer), left);
  }

  /** @param {number} now */
  #failure(now) {
    if (this.#failures.count === RETRIES) this.#acts.gaveUp();
    const retryAt = now + RETRY_MS * 4 ** this.#failures.count;
    this.#failures = { ...this.#failures, count: this.#failures.count + 1, retryAt };
  }

  /** Closes the tunnel; the forwarded connection is there. @param {number} now */
  #reset(now) {
    this.#enter(now, 'forwarded');
    this.#peer = null;
    this.#facts.up = false;
    this.#facts.shown = { ...this.#facts.shown, tunnel: false };
    this.#acts.prefer('forwarded');
    this.#acts.close();
  }

  /**
   * @param {number} now
   * @param {'forwarded' | 'opening' | 'crossing' | 'tunnel' | 'returning'} phase
   */
  #enter(now, phase) {
    this.#phase = phase;
    this.#since = now;
    this.#shownSince = null;
    this.#saidAt = null;
  }

  /**
   * Whether that time has come; where it has not, it is when to look again.
   * @param {number} now
   * @param {number} at
   */
  #past(now, at) {
    if (now >= at) return true;
    this.deadline = Math.min(this.deadline, at);
    return false;
  }
}
