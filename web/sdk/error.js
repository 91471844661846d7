// What can go wrong in a call, as codes that a program can act on and sentences that a person can read.

/**
 * Codes: those of PROTOCOL.md (`refused`, `full`, `unavailable`, `replaced`, `version`, `ended`, …) and those that
 * only a client can see: `link`, `unsupported`, `unreachable`, `lost`, `media`, `tunnel`, `tunnel-refused`,
 * `unverified`, `disagreement`, `encryption`, `device`, `host`, `aborted`.
 */
export class SottoError extends Error {
  /**
   * @param {string} code
   * @param {string} [message] Overrides the sentence that belongs to the code.
   * @param {{cause?: unknown}} [options]
   */
  constructor(code, message, options) {
    super(message ?? SENTENCES[code] ?? `The relay said "${code}".`, options);
    this.name = 'SottoError';
    this.code = code;
  }

  /** Whether joining again, unchanged, may succeed. */
  get passing() {
    return !FINAL.has(this.code);
  }
}

/**
 * @param {unknown} error
 * @param {string} code Used when the error has none of its own.
 * @returns {SottoError}
 */
export function asSottoError(error, code) {
  if (error instanceof SottoError) return error;
  return new SottoError(code, error instanceof Error ? error.message : String(error), { cause: error });
}

/** Joining again would be answered alike, or would push another device out of the call. */
const FINAL = new Set(['refused', 'full', 'replaced', 'removed', 'version', 'link', 'unsupported', 'aborted']);

/** @type {Record<string, string>} */
const SENTENCES = {
  refused: 'The relay did not admit this link.',
  full: 'The call, or the relay, is full.',
  unavailable: 'The relay takes no new calls now.',
  replaced: 'This seat in the call was taken over by another connection.',
  removed: 'The host removed you from the call, or did not let you in.',
  version: 'This page and the relay speak different versions of the protocol.',
  ended: 'The call ended.',
  link: 'This is not the link of a call.',
  unsupported: 'This browser cannot encrypt calls end to end.',
  unreachable: 'The relay cannot be reached.',
  lost: 'The connection to the relay was lost.',
  media: 'No media path to the relay could be opened.',
  tunnel: 'No tunnel to the other person could be opened; the call goes on by way of the relay, still encrypted.',
  'tunnel-refused': 'A tunnel was refused, because it could not be shown to lead to the other person. The call goes on by way of ' +
    'the relay, still encrypted.',
  unverified: 'Something arrived that could not be verified; it is not shown.',
  disagreement: 'The members of the call do not see the same people.',
  encryption: 'End-to-end encryption could not be started.',
  host: 'Only the host of the call can do that.',
  aborted: 'Joining was given up.',
  device: 'The camera or microphone could not be opened.',
};
