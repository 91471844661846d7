// Links and admission: what the fragment of a link gives its holder, the call id that commits to it, and the
// signature that lets a holder into the call without an account.

import { concat, covered, fromBase64Url, join, toBase64Url } from './bytes.js';
import { ed25519FromSeed, hkdf, hkdfKey, sha256 } from './derive.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * What a link opens.
 * @typedef {object} CallSecrets
 * @property {Bytes} call the call id, 16 bytes
 * @property {Bytes} admission the public half of the admission key, 32 bytes
 * @property {CryptoKey} admissionKey signs joins
 * @property {Bytes} host h, 16 bytes: says whose call this is
 * @property {CryptoKey | null} hostKey the host's own key, where the link is the host's
 * @property {Bytes | null} hostPublic its public half, whose hash h is
 * @property {Bytes} psk salt of every pairwise key
 * @property {CryptoKey} mac authenticates hellos
 * @property {CryptoKey} profile seals names
 */

/**
 * Makes the two links of a new call.
 * @param {Crypto} crypto
 * @param {string} origin such as `https://example.org`
 * @returns {Promise<{host: string, invite: string}>}
 */
export async function newLink(crypto, origin) {
  const secret = crypto.getRandomValues(new Uint8Array(HOST_SECRET));
  const host = `${origin}/c#${toBase64Url(secret)}`;
  return { host, invite: await inviteLink(crypto, host, origin) };
}

/**
 * The link to hand to guests; an invite link gives itself.
 * @param {Crypto} crypto
 * @param {string} link a host or invite link
 * @param {string} origin
 * @returns {Promise<string>}
 */
export async function inviteLink(crypto, link, origin) {
  const { invite, host } = await readLink(crypto, link);
  return `${origin}/c#${toBase64Url(concat(invite, host))}`;
}

/**
 * @param {Crypto} crypto
 * @param {string} link a host or invite link, or its fragment
 * @returns {Promise<CallSecrets>}
 * @throws {RangeError} where the fragment is neither
 */
export async function openLink(crypto, link) {
  const { invite, host, hostKey, hostPublic } = await readLink(crypto, link);
  const root = await hkdfKey(crypto, invite);
  invite.fill(0);
  const admission = await ed25519FromSeed(crypto, await hkdf(crypto, root, 'admission', 32));
  const mac = await hkdf(crypto, root, 'mac', 32);
  const profile = await hkdf(crypto, root, 'profile', 32);
  const secrets = {
    call: await callId(crypto, admission.publicKey, host),
    admission: admission.publicKey,
    admissionKey: admission.privateKey,
    host,
    hostKey,
    hostPublic,
    psk: await hkdf(crypto, root, 'psk', 32),
    mac: await crypto.subtle.importKey('raw', mac, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify']),
    profile: await crypto.subtle.importKey('raw', profile, 'AES-GCM', false, ['encrypt', 'decrypt']),
  };
  mac.fill(0);
  profile.fill(0);
  return secrets;
}

/**
 * @param {Crypto} crypto
 * @param {Bytes} admission
 * @param {Bytes} host
 * @returns {Promise<Bytes>} 16 bytes
 */
export async function callId(crypto, admission, host) {
  return (await sha256(crypto, join('sotto/1 call', admission, host))).slice(0, 16);
}

/**
 * What to tell the server when joining, base64url throughout.
 * @param {Crypto} crypto
 * @param {CallSecrets} secrets
 * @param {import('./derive.js').KeyPair} identity
 * @param {Bytes} nonce the server's, used once
 * @param {string} hostName of the page
 */
export async function joinFields(crypto, secrets, identity, nonce, hostName) {
  return {
    call: toBase64Url(secrets.call),
    admission: toBase64Url(secrets.admission),
    host: toBase64Url(secrets.host),
    identity: toBase64Url(identity.publicKey),
    signature: toBase64Url(await signJoin(crypto, secrets, nonce, hostName, identity.publicKey)),
    proof: toBase64Url(await proveJoin(crypto, secrets, identity.privateKey, nonce, hostName)),
  };
}

/**
 * Signs a join.
 * @param {Crypto} crypto
 * @param {CallSecrets} secrets
 * @param {Bytes} nonce the server's, used once
 * @param {string} hostName of the page, so that the signature is of no use on another server
 * @param {Bytes} identity
 * @returns {Promise<Bytes>} 64 bytes
 */
export async function signJoin(crypto, secrets, nonce, hostName, identity) {
  const message = covered('join', secrets.call, nonce, hostName, identity);
  return new Uint8Array(await crypto.subtle.sign('Ed25519', secrets.admissionKey, message));
}

/**
 * Proves that whoever joins holds the identity that it joins as: else one holder of the link could have the connection
 * of another replaced.
 * @param {Crypto} crypto
 * @param {CallSecrets} secrets
 * @param {CryptoKey} signingKey private half of the identity
 * @param {Bytes} nonce
 * @param {string} hostName
 * @returns {Promise<Bytes>} 64 bytes
 */
export async function proveJoin(crypto, secrets, signingKey, nonce, hostName) {
  const message = covered('proof', secrets.call, nonce, hostName, secrets.admission);
  return new Uint8Array(await crypto.subtle.sign('Ed25519', signingKey, message));
}

/**
 * @param {Crypto} crypto
 * @param {string} link
 * @returns {Promise<{invite: Bytes, host: Bytes, hostKey: CryptoKey | null, hostPublic: Bytes | null}>}
 */
async function readLink(crypto, link) {
  const bytes = fromBase64Url(link.slice(link.indexOf('#') + 1));
  if (bytes?.length === INVITE_SECRET + HOST_HASH) {
    return { invite: bytes.slice(0, INVITE_SECRET), host: bytes.slice(INVITE_SECRET), hostKey: null, hostPublic: null };
  }
  if (bytes?.length !== HOST_SECRET) throw new RangeError('the link is not complete');
  const root = await hkdfKey(crypto, bytes);
  bytes.fill(0);
  const { privateKey, publicKey } = await ed25519FromSeed(crypto, await hkdf(crypto, root, 'host', 32));
  return {
    invite: await hkdf(crypto, root, 'invite', INVITE_SECRET),
    host: (await sha256(crypto, publicKey)).slice(0, HOST_HASH),
    hostKey: privateKey,
    hostPublic: publicKey,
  };
}

/** Bytes of M, 43 characters in a link. */
const HOST_SECRET = 32;

/** Bytes of S. */
const INVITE_SECRET = 32;

/** Bytes of h; with S 64 characters in a link. */
const HOST_HASH = 16;
