// The host state: who may be in a call, signed by the host's key, to which the call id commits. Written, read and
// ordered here; what follows from it is decided in `door.js`.

import { compare, concat, covered, fromBase64Url, toBase64Url, u64 } from './bytes.js';
import { sha256, verifyEd25519 } from './derive.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./link.js').CallSecrets} CallSecrets */

/**
 * What the host says.
 * @typedef {object} Ruling
 * @property {Bytes} host I of the host who signs
 * @property {number} counter from 1, higher in each state
 * @property {boolean} locked whether newcomers must be admitted
 * @property {Bytes[]} admitted I's that may come in while it is locked
 * @property {Bytes[]} removed I's that may not come in
 */

/**
 * A host state that held.
 * @typedef {Ruling & {covered: Bytes, wire: Record<string, unknown>}} HostState
 */

/**
 * Signs a state; the lists are put in order here.
 * @param {Crypto} crypto
 * @param {CallSecrets} secrets of a host link
 * @param {Ruling} ruling
 * @returns {Promise<HostState>}
 * @throws {RangeError} where the link is not the host's, or a list is too long
 */
export async function signHostState(crypto, secrets, { host, counter, locked, ...lists }) {
  const { call, hostKey, hostPublic } = secrets;
  if (!hostKey || !hostPublic) throw new RangeError('only who holds the host link can do this');
  const [admitted, removed] = [sorted(lists.admitted), sorted(lists.removed)];
  if (admitted.length > MAX_LISTED || removed.length > MAX_LISTED || counter > Number.MAX_SAFE_INTEGER) {
    throw new RangeError(`the host state is full: it lists ${MAX_LISTED} at most; start a new call`);
  }
  const ruling = { host, counter, locked, admitted, removed };
  const statement = stated(call, ruling);
  const signature = new Uint8Array(await crypto.subtle.sign('Ed25519', hostKey, statement));
  const wire = {
    key: toBase64Url(hostPublic),
    host: toBase64Url(host),
    counter,
    locked,
    admitted: admitted.map(toBase64Url),
    removed: removed.map(toBase64Url),
    signature: toBase64Url(signature),
  };
  return { ...ruling, covered: statement, wire };
}

/**
 * @param {Crypto} crypto
 * @param {CallSecrets} secrets
 * @param {unknown} value as it came
 * @returns {Promise<HostState | null>} `null` unless it is whole and signed by the host of this call
 */
export async function readHostState(crypto, secrets, value) {
  const parsed = parse(value);
  if (!parsed) return null;
  const { key, signature, ruling } = parsed;
  if (compare((await sha256(crypto, key)).slice(0, secrets.host.length), secrets.host) !== 0) return null;
  const statement = stated(secrets.call, ruling);
  if (!(await verifyEd25519(crypto, key, signature, statement))) return null;
  return { ...ruling, covered: statement, wire: /** @type {Record<string, unknown>} */ (value) };
}

/**
 * Whether a state is in force rather than another: by the higher counter, and of two hosts that counted alike by the
 * greater bytes, so that all who have seen both agree.
 * @param {HostState} state
 * @param {HostState | null} other
 * @returns {boolean}
 */
export function supersedes(state, other) {
  if (!other || state.counter !== other.counter) return !other || state.counter > other.counter;
  return compare(state.covered, other.covered) > 0;
}

/**
 * @param {unknown} value
 * @returns {{key: Bytes, signature: Bytes, ruling: Ruling} | null}
 */
function parse(value) {
  if (typeof value !== 'object' || value === null) return null;
  const fields = /** @type {Record<string, unknown>} */ (value);
  const { counter, locked } = fields;
  const [key, host] = [fromBase64Url(fields.key, 32), fromBase64Url(fields.host, 32)];
  const [admitted, removed] = [readList(fields.admitted), readList(fields.removed)];
  const signature = fromBase64Url(fields.signature, 64);
  if (!key || !host || !admitted || !removed || !signature || typeof locked !== 'boolean') return null;
  if (typeof counter !== 'number' || !Number.isSafeInteger(counter) || counter < 1) return null;
  return { key, signature, ruling: { host, counter, locked, admitted, removed } };
}

/**
 * @param {unknown} value
 * @returns {Bytes[] | null} `null` unless it is short enough and strictly ascending
 */
function readList(value) {
  if (!Array.isArray(value) || value.length > MAX_LISTED) return null;
  /** @type {Bytes[]} */
  const list = [];
  for (const each of value) {
    const identity = fromBase64Url(each, 32);
    if (!identity || (list.length > 0 && compare(list[list.length - 1], identity) >= 0)) return null;
    list.push(identity);
  }
  return list;
}

/**
 * What the host's key signs.
 * @param {Bytes} call
 * @param {Ruling} ruling
 * @returns {Bytes}
 */
function stated(call, { host, counter, locked, admitted, removed }) {
  const lock = Uint8Array.of(locked ? 1 : 0);
  return covered('host-state', call, host, u64(counter), lock, concat(...admitted), concat(...removed));
}

/**
 * @param {Bytes[]} identities
 * @returns {Bytes[]} in ascending order, each once
 */
function sorted(identities) {
  const ascending = [...identities].sort(compare);
  return ascending.filter((each, at) => at === 0 || compare(ascending[at - 1], each) !== 0);
}

/** I's in a list: more than a call holds, and both lists fit into one message, even inside a sealed `ready`. */
export const MAX_LISTED = 128;
