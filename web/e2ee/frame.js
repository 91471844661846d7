// What one encoded frame looks like on the way: which bytes stay clear, what is authenticated with them, and the
// streams of a participant.

import { concat, join } from './bytes.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {'microphone' | 'camera' | 'screen' | 'screen-audio'} Stream */
/** @typedef {'vp8' | 'vp9' | 'opus'} FrameCodec */

/**
 * Stream numbers, the last byte of a KID.
 * @type {Readonly<Record<Stream, number>>}
 */
export const STREAMS = Object.freeze({ microphone: 0, camera: 1, screen: 2, 'screen-audio': 3 });

/** The stream of a participant's sealed messages. */
export const MESSAGES = 255;

/**
 * @param {unknown} stream
 * @returns {stream is Stream}
 */
export function isStream(stream) {
  return typeof stream === 'string' && Object.hasOwn(STREAMS, stream);
}

/**
 * @param {Stream} stream
 * @returns {boolean}
 */
export function isVideo(stream) {
  return stream === 'camera' || stream === 'screen';
}

/**
 * Which codec a MIME type names, of those whose frames can be protected.
 * @param {string | undefined} mimeType such as `video/VP8`
 * @returns {FrameCodec | null}
 */
export function codecOf(mimeType) {
  switch (mimeType?.toLowerCase()) {
    case 'video/vp8': return 'vp8';
    case 'video/vp9': return 'vp9';
    case 'audio/opus': return 'opus';
    default: return null;
  }
}

/**
 * How many bytes of a frame stay clear. A packetiser looks into VP8 to tell key frames from delta frames; VP9 and
 * Opus are carried whole.
 * @param {FrameCodec} codec
 * @param {Bytes} frame in the clear or protected: the bytes that this looks at are the same
 * @returns {number | null} `null` where the frame is too short to be one
 */
export function clearBytes(codec, frame) {
  if (frame.length === 0) return null;
  const clear = codec === 'vp8' ? (frame[0] & 1 ? VP8_DELTA : VP8_KEY) : 0;
  return clear <= frame.length ? clear : null;
}

/**
 * The part of a frame's metadata that is the same for all frames of a sender.
 * @param {Bytes} call
 * @param {Bytes} identity the sender's
 * @returns {Bytes}
 */
export function metadataPrefix(call, identity) {
  return join('sotto/1', call, identity);
}

/**
 * What is authenticated with a frame beside the SFrame header.
 * @param {Bytes} prefix from `metadataPrefix`
 * @param {Bytes} clear the bytes left clear
 * @returns {Bytes}
 */
export function metadata(prefix, clear) {
  return concat(prefix, join(clear));
}

/** Frame header of a VP8 key frame: tag, start code and dimensions (RFC 6386, section 9.1). */
const VP8_KEY = 10;

/** Frame tag of a VP8 delta frame. */
const VP8_DELTA = 3;
