// Known answers for everything but the bare frame, between the page and the load tester's peers: one side makes its
// file again from the inputs in it and finds it unchanged, and makes the other's from the inputs in that.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'node:test';
import { covered, fromBase64Url, toBase64Url } from '../../web/e2ee/bytes.js';
import { verificationCode } from '../../web/e2ee/code.js';
import { ed25519FromSeed, hkdfKey } from '../../web/e2ee/derive.js';
import { readEnvelope, writeEnvelope } from '../../web/e2ee/envelope.js';
import { STREAMS, clearBytes, metadataPrefix } from '../../web/e2ee/frame.js';
import { readHello, tidyName, writeHello } from '../../web/e2ee/hello.js';
import { readHostState, signHostState, supersedes } from '../../web/e2ee/host-state.js';
import { inviteLink, openLink, proveJoin, signJoin } from '../../web/e2ee/link.js';
import { openMessage, sealMessage } from '../../web/e2ee/messages.js';
import { agree } from '../../web/e2ee/pairwise.js';
import { ReceiverKeys } from '../../web/e2ee/receiver-key.js';
import { rosterDigest } from '../../web/e2ee/roster.js';
import { SenderKeys, ratchet } from '../../web/e2ee/sender-key.js';
import { crypto } from './world.js';

const hex = bytes => Buffer.from(bytes).toString('hex');
const unhex = text => Uint8Array.from(Buffer.from(text, 'hex'));
const path = name => new URL(`vectors/${name}`, import.meta.url);
const read = name => JSON.parse(readFileSync(path(name), 'utf8'));

test('what the page makes of known keys is what the vectors have', async () => {
  const written = `${JSON.stringify(await answer(INPUTS), null, 2)}\n`.replace(/[^\n -~]/g, escaped);
  if (process.env.WRITE_VECTORS) writeFileSync(path('agreement-page.json'), written);
  assert.equal(readFileSync(path('agreement-page.json'), 'utf8'), written);
});

test('the page makes of the same keys what the load tester makes of them', async () => {
  const theirs = read('agreement-loadtest.json');
  const {
    link, join, proof, hellos, pairwise, bye, steps, frames, messages, host_states, latest, alive, code, names, ...inputs
  } = theirs;
  assert.deepEqual(await answer(inputs), theirs);
  assert.ok(frames.length >= 6 && messages.length >= 3 && pairwise.length >= 6 && host_states.length >= 6);
});

test('the page opens what the load tester sealed', async () => {
  const theirs = read('agreement-loadtest.json');
  const { secrets, members: [ana, ben] } = await open(theirs);
  const pair = await pairOf(secrets, ben, ana);
  const envelope = data => readEnvelope(data).fields;
  const hello = await readHello(crypto, secrets, envelope(theirs.hellos[0]));
  const { name, participant, seq } = theirs.members[0];
  assert.deepEqual([hello.name, hello.participant, hello.seq], [tidyName(name), participant, seq]);
  for (const { from, type, body, data } of theirs.pairwise.filter(each => each.from === 0)) {
    const { counter, box } = envelope(data);
    assert.equal(text(await pair.open(type, counter, fromBase64Url(box))), body, `${from} ${type}`);
  }
  for (const state of theirs.host_states) {
    assert.ok(await readHostState(crypto, secrets, state), JSON.stringify(state));
    assert.equal(await readHostState(crypto, secrets, { ...state, locked: !state.locked }), null);
  }
  for (const { generation, step, stream, codec, frame, sealed } of theirs.frames) {
    const bytes = unhex(sealed);
    const clear = clearBytes(codec, bytes);
    const opened = await (await receiving(theirs, secrets, ana, generation, step)).open(STREAMS[stream], bytes, clear);
    assert.equal(hex(bytes.subarray(0, clear)) + hex(opened.plaintext), frame);
  }
  for (const { generation, step, kind, body, data } of theirs.messages) {
    const peer = { identity: ana.identity, receiving: await receiving(theirs, secrets, ana, generation, step) };
    const opened = await openMessage(crypto, secrets.call, peer, fromBase64Url(envelope(data).box));
    assert.deepEqual(opened, { kind, body });
  }
});

/** Everything that the protocol makes of some keys, beside them. */
async function answer(inputs) {
  const { secrets, members } = await open(inputs);
  const [ana, ben] = members;
  const identities = members.map(member => member.identity);
  const states = await Promise.all(inputs.host_state_inputs.map(input => hostState(secrets, members, input)));
  const counters = [0, ...states.map(state => state.counter)];
  return {
    ...inputs,
    link: {
      invite: (await inviteLink(crypto, `#${inputs.host_secret}`, '')).slice('/c#'.length),
      call: hex(secrets.call),
      admission: hex(secrets.admission),
      host: hex(secrets.host),
      psk: hex(secrets.psk),
    },
    join: hex(await signJoin(crypto, secrets, unhex(inputs.nonce), inputs.host_name, ana.identity)),
    proof: hex(await proveJoin(crypto, secrets, ana.signing, unhex(inputs.nonce), inputs.host_name)),
    hellos: await Promise.all(members.map(member => hello(secrets, member))),
    pairwise: await pairwise(inputs, secrets, members),
    bye: writeEnvelope('bye', { signature: toBase64Url(await sign(ana, covered('bye', secrets.call, ana.identity))) }),
    steps: await steps(inputs.base),
    frames: await Promise.all(inputs.frame_inputs.map(input => sealFrame(inputs, secrets, ana, input))),
    messages: await Promise.all(inputs.message_inputs.map(input => say(inputs, secrets, ana, input))),
    host_states: states.map(state => state.wire),
    latest: states.reduce((best, state, at) => (supersedes(state, states[best]) ? at : best), 0),
    alive: await Promise.all(counters.map(async each => hex(await rosterDigest(crypto, secrets.call, identities, each)))),
    code: await verificationCode(crypto, secrets.call, identities),
    names: inputs.name_inputs.map(tidyName),
  };
}

async function open({ host_secret, members }) {
  const secrets = await openLink(crypto, host_secret);
  return { secrets, members: await Promise.all(members.map(member)) };
}

async function member({ identity_seed, key_seed, ...rest }) {
  const { privateKey, publicKey } = await ed25519FromSeed(crypto, unhex(identity_seed));
  const pkcs8 = unhex(`302e020100300506032b656e04220420${key_seed}`);
  const readable = await crypto.subtle.importKey('pkcs8', pkcs8, 'X25519', true, ['deriveBits']);
  const { x } = await crypto.subtle.exportKey('jwk', readable);
  return { ...rest, signing: privateKey, identity: publicKey, key: fromBase64Url(x, 32), keyPrivate: readable };
}

async function hello(secrets, { signing, identity, key, seq, participant, name, name_nonce }) {
  const fixed = { ...crypto, getRandomValues: array => (array.set(unhex(name_nonce)), array) };
  const fields = { identity, key, seq, participant, name: tidyName(name) };
  return writeEnvelope('hello', await writeHello(fixed, secrets, signing, fields));
}

function pairOf({ call, psk }, ours, theirs) {
  const side = { call, psk, ours: ours.identity, theirs: theirs.identity };
  return agree(crypto, side, ours.keyPrivate, theirs.key);
}

async function pairwise({ pairwise_inputs }, secrets, [ana, ben]) {
  const pairs = [await pairOf(secrets, ana, ben), await pairOf(secrets, ben, ana)];
  const sealed = [];
  for (const { from, type, body } of pairwise_inputs) {
    const { counter, box } = await pairs[from].seal(type, new TextEncoder().encode(body));
    sealed.push({ from, type, body, data: writeEnvelope(type, { counter, box: toBase64Url(box) }) });
  }
  return sealed;
}

async function steps(base) {
  const all = [base];
  for (let step = 1; step <= 8; step++) {
    all.push(hex(await ratchet(crypto, await hkdfKey(crypto, unhex(all[step - 1])))));
  }
  return all;
}

/** A sender whose next frame of that stream is under that generation, step and counter. */
async function sending({ base }, secrets, { identity }, { generation, step, counter }, stream) {
  const keys = new SenderKeys(crypto, metadataPrefix(secrets.call, identity));
  keys.current = { generation, step, base: unhex((await steps(base))[step]), streams: new Map() };
  keys.take(stream);
  keys.current.streams.get(stream).counter = BigInt(counter);
  return keys;
}

async function receiving({ base }, secrets, { identity }, generation, step) {
  const keys = new ReceiverKeys(crypto, metadataPrefix(secrets.call, identity), () => undefined);
  assert.ok(await keys.learn(generation, 0, unhex(base)), `generation ${generation}, step ${step}`);
  return keys;
}

async function sealFrame(inputs, secrets, sender, input) {
  const keys = await sending(inputs, secrets, sender, input, STREAMS[input.stream]);
  return { ...input, sealed: hex(await keys.protectFrame(STREAMS[input.stream], input.codec, unhex(input.frame))) };
}

async function say(inputs, secrets, sender, { generation, step, counter, kind, body }) {
  const keys = await sending(inputs, secrets, sender, { generation, step, counter }, 255);
  const sealed = await sealMessage(crypto, keys, secrets.call, sender.signing, { kind, body });
  const data = writeEnvelope('message', { box: toBase64Url(sealed) });
  return { generation, step, counter, kind, body, data };
}

/** `host` is a member's place, the others are identities. */
function hostState(secrets, members, { host, counter, locked, admitted, removed }) {
  const lists = { admitted: admitted.map(each => fromBase64Url(each)), removed: removed.map(each => fromBase64Url(each)) };
  return signHostState(crypto, secrets, { host: members[host].identity, counter, locked, ...lists });
}

async function sign({ signing }, message) {
  return new Uint8Array(await crypto.subtle.sign('Ed25519', signing, message));
}

/** So that no direction override stands in the file itself. */
const escaped = unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;

const text = bytes => new TextDecoder().decode(bytes);

function all(...bytes) {
  return bytes.map(byte => toBase64Url(unhex(byte.repeat(32))));
}

const INPUTS = {
  host_secret: toBase64Url(unhex('a7'.repeat(32))),
  nonce: '3c'.repeat(32),
  host_name: 'sotto.example:8443',
  members: [
    {
      identity_seed: '11'.repeat(32), key_seed: '12'.repeat(32), participant: 'AQIDBAUGBwg', seq: 1,
      name: 'Ana', name_nonce: '000102030405060708090a0b',
    },
    {
      identity_seed: '21'.repeat(32), key_seed: '22'.repeat(32), participant: '__________8', seq: 9_007_199_254_740_991,
      name: '  Zoe\u0308\u202e  \u{1f469}\u200d\u{1f4bb} ', name_nonce: 'f0f1f2f3f4f5f6f7f8f9fafb',
    },
  ],
  pairwise_inputs: [
    { from: 0, type: 'ready', body: '{"tunnel":true,"host":null}' },
    { from: 0, type: 'key', body: `{"generation":0,"step":0,"base":"${'A'.repeat(43)}"}` },
    { from: 1, type: 'ready', body: '{"tunnel":false,"host":null}' },
    { from: 1, type: 'key-ack', body: '{"generation":0,"step":0}' },
    { from: 0, type: 'key', body: `{"generation":4294967295,"step":8,"base":"${'_'.repeat(42)}8"}` },
    { from: 0, type: 'tunnel', body: '{"description":"v=0"}' },
    { from: 0, type: 'tunnel-over', body: '{"path":"tunnel"}' },
  ],
  base: '5e'.repeat(32),
  frame_inputs: [
    { generation: 0, step: 0, stream: 'microphone', codec: 'opus', counter: 0, frame: 'fc' },
    { generation: 0, step: 8, stream: 'camera', codec: 'vp8', counter: 7, frame: `500100009d012a8002e0${'a5'.repeat(500)}` },
    { generation: 1, step: 0, stream: 'camera', codec: 'vp8', counter: 8, frame: '510100' },
    { generation: 1, step: 3, stream: 'camera', codec: 'vp9', counter: 255, frame: '8249834200' },
    { generation: 65_536, step: 1, stream: 'screen', codec: 'vp8', counter: 256, frame: '3102001122' },
    { generation: 4_294_967_295, step: 8, stream: 'screen-audio', codec: 'opus', counter: 2 ** 40, frame: '78aabb' },
  ],
  message_inputs: [
    { generation: 0, step: 0, counter: 0, kind: 'alive', body: { roster: toBase64Url(unhex('77'.repeat(32))) } },
    { generation: 3, step: 2, counter: 1_000, kind: 'speaking', body: { level: 3 } },
    { generation: 70_000, step: 8, counter: 65_535, kind: 'unsend', body: { id: 'm-1' } },
    { generation: 1, step: 1, counter: 3, kind: 'chat', body: { id: 'é', text: 'grüße \u2028 "\\\n\u0007' } },
  ],
  host_state_inputs: [
    { host: 0, counter: 1, locked: true, admitted: all('00', '01', '7f', '80', 'ff'), removed: [] },
    { host: 0, counter: 1, locked: false, admitted: [], removed: [] },
    { host: 1, counter: 9_007_199_254_740_991, locked: false, admitted: all('02'), removed: all('02', '03') },
    { host: 1, counter: 9_007_199_254_740_991, locked: false, admitted: all('02', '03'), removed: all('02', '03') },
    { host: 0, counter: 4_294_967_296, locked: true, admitted: all('fe'), removed: all('fd') },
    { host: 1, counter: 9_007_199_254_740_991, locked: false, admitted: all('02', '03'), removed: all('01', '04') },
  ],
  name_inputs: ['Ana', ' a\u0000b\u202ec ', 'Zoe\u0308', 'é'.repeat(60), `${'a'.repeat(95)} b`, '\u200b\ufeff', 'x\u00a0\u3000y'],
};
