// Byte strings: the one rule by which fields are joined before they are signed or hashed, and base64url (RFC 4648).

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/**
 * Joins fields, each behind its length in two bytes, big-endian. Text is taken as UTF-8.
 * @param {...(string | Bytes)} fields each at most 65,535 bytes
 * @returns {Bytes}
 */
export function join(...fields) {
  const parts = fields.map(field => (typeof field === 'string' ? utf8(field) : field));
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + 2 + part.length, 0));
  let at = 0;
  for (const part of parts) {
    if (part.length > 0xffff) throw new RangeError('a field is at most 65,535 bytes');
    joined[at] = part.length >> 8;
    joined[at + 1] = part.length & 0xff;
    joined.set(part, at + 2);
    at += 2 + part.length;
  }
  return joined;
}

/**
 * What a signature or MAC of this protocol covers: the label, a zero byte, the call id and the fields.
 * @param {string} type
 * @param {Bytes} call
 * @param {...(string | Bytes)} fields
 * @returns {Bytes}
 */
export function covered(type, call, ...fields) {
  return join(`sotto/1 ${type}`, new Uint8Array(1), call, ...fields);
}

/**
 * Puts byte strings behind each other, without lengths.
 * @param {...Bytes} parts
 * @returns {Bytes}
 */
export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * A number as eight bytes, big-endian.
 * @param {number | bigint} value
 * @returns {Bytes}
 */
export function u64(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/**
 * @param {string} text
 * @returns {Bytes}
 */
export function utf8(text) {
  return ENCODER.encode(text);
}

/**
 * @param {Bytes} bytes
 * @returns {string | null} `null` where the bytes are not UTF-8
 */
export function text(bytes) {
  try {
    return DECODER.decode(bytes);
  } catch {
    return null;
  }
}

/**
 * @param {Bytes} bytes
 * @returns {string} base64url without padding
 */
export function toBase64Url(bytes) {
  let binary = '';
  for (let at = 0; at < bytes.length; at += SPREAD) {
    binary += String.fromCharCode(...bytes.subarray(at, at + SPREAD));
  }
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/**
 * @param {unknown} value
 * @param {number} [length] the only length that is taken
 * @returns {Bytes | null} `null` for anything but the one right spelling of some bytes
 */
export function fromBase64Url(value, length) {
  if (typeof value !== 'string' || !/^[A-Za-z0-9_-]*$/.test(value) || value.length % 4 === 1) return null;
  const binary = atob(value.replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  if (length !== undefined && bytes.length !== length) return null;
  return toBase64Url(bytes) === value ? bytes : null;
}

/**
 * Orders and compares public values; not constant in time, so never for a secret or a MAC.
 * @param {Bytes} a
 * @param {Bytes} b
 * @returns {number} below, at or above zero
 */
export function compare(a, b) {
  const shorter = Math.min(a.length, b.length);
  for (let at = 0; at < shorter; at++) {
    if (a[at] !== b[at]) return a[at] - b[at];
  }
  return a.length - b.length;
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder('utf-8', { fatal: true });

/** How many arguments one call takes safely in every engine. */
const SPREAD = 4096;
