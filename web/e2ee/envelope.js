// The outer form of every message between participants: a small JSON object, `v` first.

/**
 * @param {string} type
 * @param {Record<string, unknown>} fields
 * @returns {string}
 */
export function writeEnvelope(type, fields) {
  return JSON.stringify({ v: 1, type, ...fields });
}

/**
 * @param {unknown} data
 * @returns {{type: string, fields: Record<string, unknown>} | null} `null` for anything malformed or too large
 */
export function readEnvelope(data) {
  if (typeof data !== 'string' || data.length > MAX_MESSAGE) return null;
  const fields = readObject(data);
  return fields && fields.v === 1 && typeof fields.type === 'string' ? { type: fields.type, fields } : null;
}

/**
 * @param {string | null} json
 * @returns {Record<string, unknown> | null}
 */
export function readObject(json) {
  try {
    const value = JSON.parse(json ?? '');
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** Characters of a message; the largest, a tunnel's SDP, is about 8 KiB. */
export const MAX_MESSAGE = 16_384;
