// What members tell one another: sealed like a frame of stream 255, with the sender's signature inside, so that not
// even another member can speak in its name.

import { concat, covered, text, u64, utf8 } from './bytes.js';
import { verifyEd25519 } from './derive.js';
import { readObject } from './envelope.js';
import { MESSAGES } from './frame.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./sender-key.js').SenderKeys} SenderKeys */
/** @typedef {import('./membership.js').Peer} Peer */

/** Kinds that the page sends; `alive` is sent by the roster itself. */
export const KINDS = Object.freeze(['chat', 'unsend', 'speaking', 'state', 'mute']);

/**
 * @typedef {object} Message
 * @property {string} kind
 * @property {unknown} body
 */

/**
 * @param {Crypto} crypto
 * @param {SenderKeys} keys
 * @param {Bytes} call
 * @param {CryptoKey} signingKey private half of our identity
 * @param {Message} message
 * @returns {Promise<Bytes>} SFrame header, ciphertext, tag
 */
export async function sealMessage(crypto, keys, call, signingKey, message) {
  const { kid, counter, key } = keys.take(MESSAGES);
  const plaintext = utf8(pad(message));
  const signed = covered('message', call, u64(kid), u64(counter), plaintext);
  const signature = new Uint8Array(await crypto.subtle.sign('Ed25519', signingKey, signed));
  return keys.seal(kid, counter, key, NOTHING, concat(signature, plaintext));
}

/**
 * @param {Crypto} crypto
 * @param {Bytes} call
 * @param {Peer} peer
 * @param {Bytes} sealed
 * @returns {Promise<Message | import('./receiver-key.js').Refusal | 'signature'>}
 */
export async function openMessage(crypto, call, peer, sealed) {
  const opened = await peer.receiving.open(MESSAGES, sealed, 0);
  if (typeof opened === 'string') return opened;
  const signature = opened.plaintext.slice(0, SIGNATURE);
  const plaintext = opened.plaintext.slice(SIGNATURE);
  const signed = covered('message', call, u64(opened.kid), u64(opened.counter), plaintext);
  if (!(await verifyEd25519(crypto, peer.identity, signature, signed))) return 'signature';
  const message = readObject(text(plaintext));
  return message && typeof message.kind === 'string' ? { kind: message.kind, body: message.body } : 'malformed';
}

/**
 * Checks what is about to be sent, or was received.
 * @param {string} kind
 * @param {unknown} body
 * @throws {RangeError} where the kind is unknown, or the body too large or of the wrong form
 */
export function checkMessage(kind, body) {
  if (!KINDS.includes(kind)) throw new RangeError('the kind of message is not known');
  if (typeof body !== 'object' || body === null) throw new RangeError('the body of a message is an object');
  const { id, text: chat } = /** @type {Record<string, unknown>} */ (body);
  const named = typeof id === 'string' && id.length > 0 && id.length <= MAX_ID;
  if ((kind === 'chat' || kind === 'unsend') && !named) throw new RangeError('a chat message has an id');
  if (kind === 'chat' && typeof chat !== 'string') throw new RangeError('a chat message has a text');
  const size = utf8(JSON.stringify(body)).length;
  if (size > (kind === 'speaking' ? MAX_HINT : MAX_BODY)) throw new RangeError('the message is too large');
}

/**
 * Speaking hints are all of one size, whatever they say.
 * @param {Message} message
 * @returns {string}
 */
function pad({ kind, body }) {
  const json = JSON.stringify({ kind, body });
  return kind === 'speaking' ? json.padEnd(SPEAKING) : json;
}

const NOTHING = new Uint8Array(0);

/** Bytes of an Ed25519 signature. */
const SIGNATURE = 64;

/** Characters of a chat message's id. */
const MAX_ID = 64;

/** Bytes of a body: with signature, tag and two rounds of base64url's third it stays below a relay message's size. */
const MAX_BODY = 8_192;

/** Bytes of a speaking hint's body. */
const MAX_HINT = 32;

/** Characters of every speaking hint, body and kind. */
const SPEAKING = 64;
