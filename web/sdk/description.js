// What we change in the descriptions on their way: the relay is told less than a browser would tell it, and cannot
// talk us into telling more. RFC 8866 (SDP), RFC 7587 (Opus), RFC 6464 and 6465 (audio levels).

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
