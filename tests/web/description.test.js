// What the relay is told, and what it cannot talk us into.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answered, offered } from '../../web/sdk/description.js';

const OFFER = [
  'v=0', 'o=- 42 2 IN IP4 192.168.7.13', 's=-', 't=0 0', 'a=group:BUNDLE 0 1', 'a=extmap-allow-mixed',
  'm=audio 53211 UDP/TLS/RTP/SAVPF 111', 'c=IN IP4 192.168.7.13', 'a=rtcp:9 IN IP4 0.0.0.0',
  'a=candidate:1 1 udp 2122260223 192.168.7.13 53211 typ host',
  'a=candidate:2 1 tcp 1518 fe80::13 9 typ host tcptype active',
  'a=end-of-candidates', 'a=ice-ufrag:abcd', 'a=mid:0',
  'a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level', 'a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:mid',
  'a=sendonly', 'a=rtpmap:111 opus/48000/2', 'a=fmtp:111 minptime=10;useinbandfec=1',
  'm=video 0 UDP/TLS/RTP/SAVPF 96', 'c=IN IP6 fe80::13', 'a=mid:1', 'a=rtpmap:96 VP8/90000', '',
].join('\r\n');

test('an offer on its way holds no address of ours and no audio level, and all the rest', () => {
  const sent = offered(OFFER);
  assert.doesNotMatch(sent, /192\.168|fe80|53211|candidate|audio-level/);
  const kept = ['a=ice-ufrag:abcd', 'a=mid:0', 'sdes:mid', 'a=extmap-allow-mixed', 'm=audio 9 UDP', 'm=video 0 UDP'];
  for (const each of kept) {
    assert.ok(sent.includes(each), each);
  }
  assert.ok(sent.split('\r\n').every((line) => line === '' || /^[a-z]=/.test(line)));
});

test('every Opus section of an answer asks for constant bitrate without pauses, whatever it said', () => {
  const answer = [
    'v=0', 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on',
    'a=rtpmap:111 opus/48000/2', 'a=fmtp:111 minptime=10;usedtx=1; cbr=0;useinbandfec=1',
    'm=audio 9 UDP/TLS/RTP/SAVPF 109', 'a=rtpmap:109 OPUS/48000/2', 'a=mid:2',
    'm=video 9 UDP/TLS/RTP/SAVPF 96', 'a=rtpmap:96 VP8/90000', '',
  ].join('\r\n');
  const applied = answered(answer);
  assert.doesNotMatch(applied, /audio-level|usedtx=1|cbr=0/);
  assert.ok(applied.includes('a=fmtp:111 minptime=10;useinbandfec=1;cbr=1;usedtx=0\r\n'));
  assert.ok(applied.includes('a=rtpmap:109 OPUS/48000/2\r\na=fmtp:109 cbr=1;usedtx=0\r\n'));
  assert.ok(applied.endsWith('a=rtpmap:96 VP8/90000\r\n'));
});

test('applying it twice changes nothing more', () => {
  assert.equal(answered(answered(OFFER)), answered(OFFER));
  assert.equal(offered(offered(OFFER)), offered(OFFER));
});
