// What we change in the descriptions on their way: the relay is told less than a browser would tell it, and cannot
// talk us into telling more. RFC 8866 (SDP), RFC 8839 (ICE in SDP), RFC 7587 (Opus), RFC 6464 and 6465 (audio levels).

import { SottoError } from './error.js';

/**
 * The relay's end of our half of a tunnel.
 * @typedef {{ufrag: string, pwd: string, candidates: string[]}} Leg
 */

const AUDIO_LEVEL = /^a=extmap:.*urn:ietf:params:rtp-hdrext:(ssrc|csrc)-audio-level\b.*\r?\n/gm;

/**
 * An offer as the relay gets it: without our addresses (it learns the one that it needs from the checks that reach
 * it) and without the audio level, which would tell it who speaks when.
 * @param {string} sdp
 */
export function offered(sdp) {
  return sdp
    .replace(AUDIO_LEVEL, '')
    .replace(/^a=(candidate|end-of-candidates)\b.*\r?\n/gm, '')
    .replace(/^a=rtcp:.*\r?\n/gm, '')
    .replace(/^c=IN .*$/gm, 'c=IN IP4 0.0.0.0')
    .replace(/^o=(\S+ \S+ \S+) IN .*$/gm, 'o=$1 IN IP4 0.0.0.0')
    .replace(/^(m=\S+) [1-9]\d* /gm, '$1 9 ');
}

/**
 * An answer as the browser gets it: no audio level, and Opus at constant bitrate without pauses, whatever the relay
 * asked for, so that the sizes of packets say little about what is said.
 * @param {string} sdp
 */
export function answered(sdp) {
  return sdp.replace(AUDIO_LEVEL, '').split(/^(?=m=)/m).map(constantBitrate).join('');
}

/**
 * A description of the tunnel as the other participant gets it, inside the encryption: besides addresses and audio
 * levels without ICE credentials, which are between us and the relay. Newlines are bare, to be shorter in JSON.
 * @param {string} sdp
 */
export function sealable(sdp) {
  return offered(sdp).replace(ICE, '').replace(/\r\n/g, '\n');
}

/**
 * The other participant's description as our browser gets it: the path that it describes ends at the relay, which is
 * ICE-lite; the certificate that it names stays theirs, so that the relay can carry the connection and not be its end.
 * @param {string} sdp From inside the encryption.
 * @param {Leg} leg From the relay, which is not trusted to write SDP.
 * @throws {SottoError} `tunnel-refused` where either is not fit to be used.
 */
export function throughRelay(sdp, leg) {
  const { ufrag, pwd, candidates } = checked(leg);
  if (sdp.length > LONGEST) throw new SottoError('tunnel-refused');
  const [session, ...sections] = sdp.replace(ICE, '').replace(/\r?\n/g, '\r\n').split(/^(?=m=)/m);
  if (sections.length === 0 || !certified(session, sections)) throw new SottoError('tunnel-refused');
  const credentials = `a=ice-ufrag:${ufrag}\r\na=ice-pwd:${pwd}\r\n`;
  const ends = candidates.map((candidate) => `a=candidate:${candidate}\r\n`).join('') + 'a=end-of-candidates\r\n';
  // Credentials stand at both levels: Firefox looks for them in the session, others in each section.
  const path = sections.map((section, n) => ownFormats(section) + credentials + (n === 0 ? ends : ''));
  return answered(`${session}a=ice-lite\r\n${credentials}${path.join('')}`);
}

/**
 * @param {unknown} leg
 * @returns {Leg}
 */
function checked(leg) {
  const { ufrag, pwd, candidates } = /** @type {Partial<Leg>} */ (leg ?? {});
  const fits = typeof ufrag === 'string' && /^[A-Za-z0-9+/]{4,256}$/.test(ufrag) &&
    typeof pwd === 'string' && /^[A-Za-z0-9+/]{22,256}$/.test(pwd) &&
    Array.isArray(candidates) && candidates.length > 0 && candidates.length <= MOST_CANDIDATES &&
    candidates.every((each) => typeof each === 'string' && CANDIDATE.test(each));
  if (!fits) throw new SottoError('tunnel-refused');
  return { ufrag, pwd, candidates };
}

/**
 * Whether every section is bound to a certificate by SHA-256.
 * @param {string} session
 * @param {string[]} sections
 */
function certified(session, sections) {
  return FINGERPRINT.test(session) || sections.every((section) => FINGERPRINT.test(section));
}

/**
 * Firefox (153) leaves attributes of codecs that it was told not to offer, and Chromium refuses a description with them.
 * @param {string} section
 */
function ownFormats(section) {
  const formats = new Set(/^m=\S+ \S+ \S+ (.*?)\r?$/m.exec(section)?.[1].split(' '));
  return section.replace(/^a=(?:rtpmap|fmtp|rtcp-fb):(\d+)\b.*\r?\n/gm, (line, format) => (formats.has(format) ? line : ''));
}

/** @param {string} section An m-line with its attributes. */
function constantBitrate(section) {
  const map = /^a=rtpmap:(\d+) opus\/48000.*?(\r?\n)/im.exec(section);
  if (!map) return section;
  const [line, type, newline] = map;
  const format = new RegExp(`^a=fmtp:${type} (.*?)(\\r?\\n)`, 'm');
  if (format.test(section)) {
    return section.replace(format, (_, parameters, end) => `a=fmtp:${type} ${constant(parameters)}${end}`);
  }
  return section.replace(line, () => `${line}a=fmtp:${type} ${constant('')}${newline}`);
}

/** @param {string} parameters */
function constant(parameters) {
  const kept = parameters.split(';').map((each) => each.trim())
    .filter((each) => each !== '' && !/^(cbr|usedtx)=/i.test(each));
  return [...kept, 'cbr=1', 'usedtx=0'].join(';');
}

/** Lines about ICE: all that would tell of our path, or name another end of theirs. */
const ICE = new RegExp(`^a=(${[
  'ice-ufrag', 'ice-pwd', 'ice-options', 'ice-lite', 'ice-mismatch', 'ice-pacing', 'candidate', 'remote-candidates',
  'end-of-candidates',
].join('|')})\\b.*(\\r?\\n|$)`, 'gm');
/** RFC 8122, section 5: 32 bytes. */
const FINGERPRINT = /^a=fingerprint:sha-256 [0-9a-f]{2}(:[0-9a-f]{2}){31}\r?$/im;
/** RFC 8839, section 5.1, as far as a relay with public addresses needs it; one line, whatever it holds. */
const CANDIDATE = /^[\w+/]{1,32} 1 (udp|tcp) \d{1,10} [0-9a-fA-F.:]{2,45} \d{1,5} typ host( tcptype (passive|active|so))?$/i;
/** A relay has one address or a few, by UDP and TCP. */
const MOST_CANDIDATES = 16;
/** Characters of a description; four m-lines take about 8,000. */
const LONGEST = 65_536;
