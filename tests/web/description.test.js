// What the relay is told, and what it cannot talk us into.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answered, offered, sealable, throughRelay } from '../../web/sdk/description.js';

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

const SHA256 = `a=fingerprint:sha-256 ${Array(32).fill('AB').join(':')}`;
const TUNNEL = [
  'v=0', 'o=- 42 2 IN IP4 192.168.7.13', 's=-', 't=0 0', 'a=group:BUNDLE 0 1', 'a=ice-options:trickle', 'a=ice-lite',
  'm=audio 53211 UDP/TLS/RTP/SAVPF 111', 'c=IN IP4 192.168.7.13', 'a=candidate:1 1 udp 2122260223 192.168.7.13 53211 typ host',
  'a=end-of-candidates', 'a=remote-candidates:1 192.168.7.14 9', 'a=ice-ufrag:abcd', 'a=ice-pwd:0123456789abcdef012345', SHA256, 'a=setup:actpass', 'a=mid:0',
  'a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level', 'a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:mid',
  'a=sendrecv', 'a=rtpmap:111 opus/48000/2', 'a=fmtp:111 minptime=10;usedtx=1',
  'm=video 9 UDP/TLS/RTP/SAVPF 96', 'c=IN IP6 fe80::13', 'a=ice-ufrag:abcd', 'a=ice-pwd:0123456789abcdef012345', SHA256, 'a=mid:1', 'a=rtpmap:96 VP8/90000', '',
].join('\r\n');
const LEG = { ufrag: 'rElAy0+/', pwd: 'relaypasswordrelaypassword', candidates: ['1 1 udp 2130706431 203.0.113.5 3478 typ host'] };
const refused = (act) => assert.throws(act, { code: 'tunnel-refused' });

test('the other participant is told nothing of our path: no address, no ICE credentials, no audio level', () => {
  const sent = sealable(TUNNEL);
  assert.doesNotMatch(sent, /192\.168|fe80|53211|candidate|ice-|abcd|0123456789|audio-level|\r/);
  assert.equal(sent.split('\n').filter((line) => line === SHA256).length, 2, 'the certificate stands as it was');
  assert.match(sent, /a=setup:actpass/);
});

test("the path of a tunnel's description is the relay's, its certificate the other one's", () => {
  // even where the other one left theirs in
  for (const sdp of [sealable(TUNNEL), TUNNEL]) {
    const applied = throughRelay(sdp, LEG);
    const [session, ...sections] = applied.split(/^(?=m=)/m);
    assert.match(session, /^a=ice-lite\r$/m);
    for (const part of [session, ...sections]) {
      assert.deepEqual(part.match(/^a=ice-(ufrag|pwd):.*(?=\r$)/gm), [`a=ice-ufrag:${LEG.ufrag}`, `a=ice-pwd:${LEG.pwd}`]);
    }
    assert.deepEqual(applied.match(/^a=candidate:.*(?=\r$)/gm), [`a=candidate:${LEG.candidates[0]}`]);
    assert.equal(applied.match(/^a=ice-lite/gm).length, 1);
    assert.equal(applied.split('\r\n').filter((line) => line === SHA256).length, 2);
    assert.ok(applied.split('\r\n').every((line) => line === '' || /^[a-z]=/.test(line)));
    assert.match(applied, /a=fmtp:111 minptime=10;cbr=1;usedtx=0\r/);
    assert.doesNotMatch(applied, /audio-level|ice-options|remote-candidates|abcd/);
  }
});

test('attributes of codecs that a section does not name are left out, which Firefox writes and Chromium refuses', () => {
  const left = 'a=rtcp-fb:99 nack\r\na=fmtp:99 x=1\r\na=rtpmap:9 VP9/90000\r\na=rtcp-fb:* nack\r\n';
  const applied = throughRelay(TUNNEL.replace('a=mid:1\r\n', `a=mid:1\r\n${left}`), LEG);
  assert.doesNotMatch(applied, /^a=(rtcp-fb|fmtp|rtpmap):9{1,2}\b/m);
  assert.match(applied, /a=rtcp-fb:\* nack\r\n[^]*a=rtpmap:96 VP8/);
});

test('a description of which a section is bound to no SHA-256 certificate is refused', () => {
  refused(() => throughRelay(TUNNEL.replaceAll('sha-256', 'sha-1'), LEG));
  refused(() => throughRelay(TUNNEL.replace(`${SHA256}\r\n`, ''), LEG));
  refused(() => throughRelay(TUNNEL.replaceAll('AB:AB', 'AB:'), LEG));
  refused(() => throughRelay('', LEG));
  const above = TUNNEL.replaceAll(`${SHA256}\r\n`, '').replace('t=0 0', `t=0 0\r\n${SHA256}`);
  assert.ok(throughRelay(above, LEG).includes(SHA256), 'one for all sections will do');
});

test('a relay cannot write lines of its own into a description', () => {
  const inject = `\r\na=fingerprint:sha-256 ${Array(32).fill('00').join(':')}`;
  for (const part of ['ufrag', 'pwd']) refused(() => throughRelay(TUNNEL, { ...LEG, [part]: LEG[part] + inject }));
  refused(() => throughRelay(TUNNEL, { ...LEG, candidates: [LEG.candidates[0] + inject] }));
  refused(() => throughRelay(TUNNEL, { ...LEG, candidates: [] }));
  refused(() => throughRelay(TUNNEL, { ...LEG, candidates: Array(17).fill(LEG.candidates[0]) }));
  refused(() => throughRelay(TUNNEL, { ...LEG, candidates: ['1 1 udp 1 evil.example 9 typ host'] }));
  for (const leg of [null, undefined, {}, { ...LEG, ufrag: 7 }, { ...LEG, candidates: [7] }]) refused(() => throughRelay(TUNNEL, leg));
});
