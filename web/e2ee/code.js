// The verification code: thirty digits that all members of one roster see alike.

import { compare, concat, join } from './bytes.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * @param {Crypto} crypto
 * @param {Bytes} call
 * @param {Bytes[]} identities everyone's, one's own included
 * @returns {Promise<string>} six groups of five digits
 */
export async function verificationCode(crypto, call, identities) {
  const password = concat(...[...identities].sort(compare));
  const key = await crypto.subtle.importKey('raw', password, 'PBKDF2', false, ['deriveBits']);
  const salt = join('sotto/1 code', call);
  const algorithm = { name: 'PBKDF2', hash: 'SHA-512', salt, iterations: ROUNDS };
  const bytes = new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, GROUPS * GROUP_BYTES * 8));
  const groups = [];
  for (let at = 0; at < bytes.length; at += GROUP_BYTES) {
    let value = 0;
    for (const byte of bytes.subarray(at, at + GROUP_BYTES)) value = value * 256 + byte;
    groups.push(String(value % 100_000).padStart(5, '0'));
  }
  return groups.join(' ');
}

/** Makes a search for identities that show another roster's digits 100,000 times dearer. */
const ROUNDS = 100_000;

const GROUPS = 6;

/** 40 bits a group, so that the remainder by 100,000 is even to one part in ten million. */
const GROUP_BYTES = 5;
