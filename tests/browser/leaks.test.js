// Nothing that belongs to a person or a call leaves the relay by any other way than the call: at every log level,
// through success, error, flood and panic, every byte that the relay writes is searched for planted canaries.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { newLink, inviteLink, openLink } from '../../web/e2ee/link.js';
import { allSee, eventually, Peer, startChromium } from './harness/browsers.js';
import { Caller } from './harness/caller.js';
import { Canaries, spellings } from './harness/canaries.js';
import { addAddresses, Place } from './harness/places.js';
import { Relay } from './harness/relay.js';
import { exchange, Wire } from './harness/wire.js';

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];
const LOADTEST = join(dirname(process.env.SOTTO_BIN), 'sotto-loadtest');

// the relay's own addresses are public; those of the people are canaries
const RELAY = ['198.51.100.1', '2001:db8:77::1'];
const NAMES = RELAY.map(address => `${address.includes(':') ? `[${address}]` : address}:8080`);
const PLACES = ['198.51.100.177', '2001:db8:77::ca4a:b1d:e5'];
const CALLERS = ['203.0.113.201', '2001:db8:5077:ca4a::c0de:1'];
const FLOODERS = ['203.0.113.213', '2001:db8:f100:d::feed:2'];
const PORTS = { http: 8080, media: 3478, admin: 9090 };

/** The load tester's exit code on a machine that is busy otherwise. */
const KEPT_UP_BADLY = 3;

const MAGIC = 'sotto probe: panic here';
const TUNNELLED = 'sotto_sent_packets_total{protocol="tunnel"}';
const FORWARDED = 'sotto_sent_packets_total{protocol="video"}';
const SEALED = 'frame.data = sealed.buffer;';

let folder;
const places = [];
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-leaks-'));
  for (const n of [0, 1]) places.push(await Place.open(PLACES[n], RELAY[n]));
  addAddresses(...CALLERS, ...FLOODERS);
});
after(() => {
  places.forEach(place => place.close());
  rmSync(folder, { recursive: true, force: true });
});

for (const [turn, level] of LEVELS.entries()) {
  test(`at level ${level} nothing of calls, callers and attackers is in any output of the relay`, async t => {
    const canaries = new Canaries();
    [...PLACES, ...CALLERS, ...FLOODERS].forEach(address => canaries.address(address));
    const relay = await Relay.start({
      SOTTO_HTTP: '[::]:8080', SOTTO_HOST: ['127.0.0.1:8080', ...NAMES].join(),
      // a tester takes the family that is named first
      SOTTO_MEDIA_IP: [RELAY[turn % 2], RELAY[1 - (turn % 2)]].join(),
      SOTTO_LOG: level, SOTTO_PROBE: 'panic', SOTTO_TUNNEL: 'on',
    });
    const out = join(folder, level);
    mkdirSync(out);
    const keep = (name, bytes) => writeFileSync(join(out, name), bytes);
    try {
      await succeed(relay, canaries, keep, turn % 2);
      await fail(relay, canaries, keep);
      await flood(relay, canaries, keep);
      if (level === 'error' || level === 'trace') await browse(t, relay, canaries);
      for (const [name, url, accept] of [
        ['metrics', `http://127.0.0.1:${PORTS.admin}/metrics`, '*/*'],
        ['healthz', `http://127.0.0.1:${PORTS.admin}/healthz`, '*/*'],
        ['transparency.json', `http://127.0.0.1:${PORTS.http}/transparency`, 'application/json'],
        ['transparency.html', `http://127.0.0.1:${PORTS.http}/transparency`, 'text/html'],
      ]) {
        const answer = await fetch(url, { headers: { accept } });
        assert.ok(answer.ok, name);
        keep(name, `${[...answer.headers].join('\n')}\n${await answer.text()}`);
      }
    } finally {
      await relay.end();
      cpSync(relay.data, `${out}-data`, { recursive: true });
      keep('output', relay.output);
      await relay.stop();
    }
    assert.ok(existsSync(join(`${out}-data`, 'call-log.sqlite')) && relay.output.length > 0, 'there is something to search');
    const { code, output, hits } = await canaries.search(`${out}.canaries`, `${out}-data`, out);
    t.diagnostic(`${canaries.size} canaries; ${output.trim().split('\n').join('; ')}`);
    assert.deepEqual(hits, []);
    assert.equal(code, 0, output);
    if (level === 'trace') await plant(t, canaries, out);
  });
}

/** Every canary, in every form, in a copy of the outputs: each must be found, or finding nothing would mean nothing. */
async function plant(t, canaries, out) {
  const copy = `${out}-planted`;
  cpSync(out, copy, { recursive: true });
  const planted = canaries.all.flatMap(({ line }, n) => spellings(line).map(([form, bytes]) => [`${n}-${form}`, bytes]));
  for (const [name, bytes] of planted) {
    writeFileSync(join(copy, name), Buffer.concat([Buffer.from('2026-11-22 INFO from '), bytes, Buffer.from(' again\n')]));
  }
  const { code, hits } = await canaries.search(`${out}.canaries`, `${out}-data`, copy);
  const found = new Set(hits.map(({ path, line }) => `${basename(path)} ${line}`));
  const missed = planted.filter(([name]) => !found.has(`${name} ${canaries.all[Number.parseInt(name, 10)].line}`));
  t.diagnostic(`${planted.length} leaks planted, ${planted.length - missed.length} caught`);
  assert.deepEqual(missed.map(([name]) => name), []);
  assert.equal(code, 1);
}

/** People in a call, from places of their own, with names, messages and descriptions: all goes well. */
async function succeed(relay, canaries, keep, at) {
  const links = await linksOf(canaries);
  const names = [`Zoë ${canaries.text('name', 'Quartzfeather')}`, canaries.text('name', 'Marmaduke Ellipsoid')];
  const agent = { 'User-Agent': canaries.text('user agent', 'CanaryBrowser/77.4c') };
  const callers = [];
  for (const n of [0, 1]) {
    const where = { host: RELAY[n], port: PORTS.http, from: CALLERS[n], name: NAMES[n] };
    const caller = await Caller.join(where, links.invite(n), names[n], agent);
    caller.offer({ ufrag: canaries.text('ufrag', `ufrag${hex(8)}`), pwd: canaries.text('pwd', hex(16)), candidates: CALLERS });
    callers.push(caller);
  }
  const before = await relay.metrics();
  const { code, output } = await load(places[at], [
    'meeting', '--relay', `http://${NAMES[at]}`, '--link', links.invite(at), '--engine', 'light', '--participants', '3',
    '--join-over', '1s', '--duration', '2s',
  ]);
  assert.ok(code === 0 || code === KEPT_UP_BADLY, output);
  await callers[0].chat(canaries.text('chat', 'meet me behind the observatory at nine'));
  await sleep(100);
  for (const [n, caller] of callers.entries()) {
    assert.ok(caller.log.some(message => message.type === 'answer'), JSON.stringify(caller.log));
    await caller.leave();
    caller.log.forEach(message => canaries.signaling(message));
    keep(`call-${n}`, caller.public);
  }
  const sent = moved(before, await relay.metrics(), 'sotto_sent_packets_total{protocol="audio"}');
  assert.ok(sent > 50, `the relay forwarded ${sent} packets of sound`);
}

/** What is answered with an error, and what the answers say. */
async function fail(relay, canaries, keep) {
  const before = await relay.metrics();
  const secret = canaries.text('token', `token-${hex(12)}`);
  const answers = [];
  for (const n of [0, 1]) {
    const http = { host: RELAY[n], port: PORTS.http, from: CALLERS[n] };
    const admin = { host: '127.0.0.1', port: PORTS.admin };
    const head = `Host: ${secret}.example\r\nCookie: session=${secret}\r\nReferer: http://a/${secret}\r\nUser-Agent: ${secret}\r\n`;
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
    answers.push(...await Promise.all([
      ...[http, admin].flatMap(where => [
        exchange(where, `GET /${secret}/?name=${secret} HTTP/1.1\r\n${head}\r\n`),
        exchange(where, `GET /transparency?host=${secret}&${secret} HTTP/1.1\r\n${head}\r\n`),
        exchange(where, `GET /c?host=${secret}#${secret} HTTP/1.1\r\n${head}\r\n`),
        exchange(where, `POST / HTTP/1.1\r\n${head}Content-Length: ${secret.length}\r\n\r\n${secret}`),
        exchange(where, `${secret.toUpperCase()} / HTTP/1.1\r\n${head}\r\n`),
        exchange(where, `GET /%${secret} HTTP/9.9\r\n${head}\r\n`),
        exchange(where, `GET / HTTP/1.1\r\n${head}X-Long: ${secret.repeat(4000)}\r\n\r\n`),
        exchange(where, Buffer.from(`\x16\x03\x01${secret}\r\n\r\n`, 'latin1')),
      ]),
      exchange(http, `GET /v1/ws?token=${secret} HTTP/1.1\r\n${head}\r\n`),
      exchange(http, `GET /v1/ws HTTP/1.1\r\n${head}${upgrade}Origin: https://${secret}.example\r\nSec-WebSocket-Protocol: sotto.v1\r\n\r\n`),
      exchange(http, `GET /v1/ws HTTP/1.1\r\n${head}${upgrade}Sec-WebSocket-Protocol: ${secret}\r\n\r\n`),
    ]));
    answers.push(...await misspeak({ ...http, name: NAMES[n] }, secret, canaries));
  }
  assert.ok(answers.every(answer => answer.length > 0) || answers.filter(answer => answer.length > 0).length > 40,
    `${answers.filter(answer => answer.length > 0).length} of ${answers.length} were answered`);
  answers.forEach((answer, n) => keep(`answer-${n}`, answer));
  const now = await relay.metrics();
  for (const reason of ['not_found', 'method', 'origin', 'no_websocket', 'header']) {
    assert.ok(moved(before, now, `sotto_http_refusals_total{reason="${reason}"}`) >= 2, `${reason} arrived`);
  }
  for (const code of ['refused', 'malformed', 'too-large', 'unknown-type', 'offer', 'unknown']) {
    assert.ok(moved(before, now, `sotto_signaling_errors_total{code="${code}"}`) >= 2, `${code} arrived`);
  }
}

/** Joins that are refused, and a participant who says what cannot be. */
async function misspeak(where, secret, canaries) {
  const answers = [];
  const first = async (...said) => {
    const wire = await Wire.open(where, { 'User-Agent': secret });
    const welcome = await wire.hear();
    canaries.signaling(welcome);
    for (const message of said) typeof message === 'function' ? message(wire) : wire.say(message);
    await wire.end();
    answers.push(wire.public);
  };
  const key = () => canaries.bytes('key', randomBytes(32).toString('base64url'));
  const call = () => canaries.bytes('call', randomBytes(16).toString('base64url'));
  const signature = () => canaries.bytes('signature', randomBytes(64).toString('base64url'));
  const join = { type: 'join', v: 1, call: call(), admission: key(), host: call(), identity: key(), signature: signature(), proof: signature() };
  await Promise.all([
    first(join),
    first({ ...join, call: secret }),
    first({ type: 'offer', id: 1, sdp: secret }),
    first(`{"type":"join","${secret}`),
    first(secret),
    first({ ...join, v: secret }),
    first(wire => wire.frame(2, Buffer.from(secret))),
    first(wire => wire.frame(1, Buffer.concat([Buffer.from(secret), Buffer.from([0xff, 0xfe])]))),
    first(wire => wire.frame(7, Buffer.from(secret))),
    first(secret.repeat(Math.ceil(300_000 / secret.length))),
  ]);
  const links = await linksOf(canaries);
  const caller = await Caller.join(where, links.invite(0, where.name), secret, { 'User-Agent': secret });
  caller.say({ type: secret });
  caller.say({ type: 'offer', id: 7, sdp: `v=0\r\na=ice-ufrag:${secret}\r\na=ice-pwd:${secret}\r\nm=${secret}\r\n` });
  caller.say({ type: 'publish', stream: 'camera', mid: secret });
  caller.say({ type: 'subscribe', participant: canaries.bytes('participant', randomBytes(8).toString('base64url')), stream: 'camera' });
  caller.say({ type: 'relay', to: caller.id, data: secret });
  await eventually('the errors', () => caller.log.filter(message => message.type === 'error').length >= 4, 3000);
  caller.say({ type: 'relay', data: secret.repeat(2000) });
  await sleep(200);
  caller.log.forEach(message => canaries.signaling(message));
  answers.push(caller.public);
  return answers;
}

/** More than the relay takes, by UDP from addresses of nobody in a call, and by WebSocket. */
async function flood(relay, canaries, keep) {
  const before = await relay.metrics();
  const junk = canaries.text('junk', `junk-${hex(12)}`);
  for (const [n, from] of FLOODERS.entries()) {
    const socket = dgram.createSocket(n === 0 ? 'udp4' : 'udp6');
    socket.bind({ address: from });
    await once(socket, 'listening');
    const packets = [
      Buffer.from(junk), // nothing
      stun(`${junk}:${junk}`), // a binding request for a ufrag of nobody
      Buffer.concat([Buffer.from([22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 1]), Buffer.from(junk)]), // DTLS
      Buffer.concat([Buffer.from([0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]), Buffer.from(junk)]), // RTP
      Buffer.concat([Buffer.from([0x80, 200, 0, 6, 0, 0, 0, 1]), Buffer.from(junk)]), // RTCP
    ];
    const answers = [];
    socket.on('message', answer => answers.push(answer));
    for (let burst = 0; burst < 20; burst += 1) {
      await Promise.all(Array.from({ length: 50 }, (_, k) => new Promise(sent =>
        socket.send(packets[(burst + k) % packets.length], PORTS.media + (k % 2), RELAY[n], sent))));
    }
    await sleep(50);
    assert.deepEqual(answers, [], 'nobody is answered who is not in a call');
    socket.close();
    const where = { host: RELAY[n], port: PORTS.http, from, name: NAMES[n] };
    const links = await linksOf(canaries);
    const caller = await Caller.join(where, links.invite(0, where.name), junk);
    for (let k = 0; k < 800; k += 1) caller.say({ type: 'relay', data: `${junk}-${k}` });
    await eventually('the flood is cut', () => caller.log.some(message => message.code === 'too-fast'), 5000);
    caller.log.forEach(message => message.type !== 'relay' && canaries.signaling(message));
    keep(`flood-${n}`, caller.public);
  }
  const now = await relay.metrics();
  const dropped = moved(before, now, 'sotto_drops_total');
  assert.ok(dropped >= 1500, `${dropped} of 2000 datagrams were counted`);
  assert.equal(moved(before, now, 'sotto_signaling_errors_total{code="too-fast"}'), 2);
}

/** Two browsers, by IPv4 and IPv6: alone in the tunnel, then forwarded beside a third, and then their call panics. */
async function browse(t, relay, canaries) {
  const agents = [0, 1].map(n => canaries.text('user agent', `CanaryBrowser/${n}.${hex(6)}`));
  const origins = NAMES.map(name => `http://${name}`);
  const browsers = await Promise.all(places.map(place => startChromium({
    executablePath: place.program('/usr/bin/chromium', folder),
    args: [`--unsafely-treat-insecure-origin-as-secure=${origins.join()}`],
  })));
  try {
    const before = await relay.metrics();
    const peers = [];
    for (const [n, browser] of browsers.entries()) {
      const context = await browser.newContext({ userAgent: agents[n] });
      await context.route('**/e2ee/worker.js', async route => {
        const response = await route.fetch();
        const body = await response.text();
        assert.ok(body.includes(SEALED), 'the worker is another than this test knows');
        await route.fulfill({ response, body: `${panicking}\n${body.replace(SEALED, 'frame.data = withMagic(sealed);')}` });
      });
      peers.push(await Peer.open({ newContext: () => listening(context, canaries) }, origins[n]));
    }
    const { host } = await peers[0].run('newLink');
    canaries.text('host link', new URL(host).hash.slice(1));
    const links = await linksOf(canaries, host);
    await peers[0].join(host, canaries.text('name', 'Anastasia Periwinkle'), { tone: 500, colour: '#c00000' });
    await peers[1].join(links.invite(1), canaries.text('name', 'Benedikt Wolkenkuckuck'), { tone: 900, colour: '#00c000' });
    await allSee(peers);
    const grown = async prefix => moved(before, await relay.metrics(), prefix);
    await eventually('they talk through the tunnel', async () => await grown(TUNNELLED) > 200, 20_000);
    await peers[0].run('sendChat', canaries.text('chat', 'the cheese is in the second drawer'));
    const where = { host: RELAY[0], port: PORTS.http, from: CALLERS[0], name: NAMES[0] };
    const third = await Caller.join(where, links.invite(0), canaries.text('name', 'Third Wheelwright'));
    const forwarded = await grown(FORWARDED);
    await eventually('their media is forwarded', async () => await grown(FORWARDED) > forwarded + 100, 20_000);
    third.log.forEach(message => canaries.signaling(message));
    await peers[0].page.evaluate(() => new BroadcastChannel('panic').postMessage(true));
    await eventually('the call panics', async () => await grown('sotto_call_panics_total') > 0);
    await third.leave();
    assert.match(relay.output, /panicked at/);
    t.diagnostic(`${await grown(TUNNELLED)} packets through the tunnel, ${await grown(FORWARDED)} of video forwarded`);
  } finally {
    await Promise.all(browsers.map(browser => browser.close()));
  }
}

/** Runs in the encryption's worker: whatever is sealed may be given an end that the relay panics at. */
const panicking = `
let panics = false;
new BroadcastChannel('panic').onmessage = () => { panics = true; };
function withMagic(sealed) {
  if (!panics) return sealed.buffer;
  const whole = new Uint8Array(sealed.length + ${MAGIC.length});
  whole.set(sealed);
  whole.set(new TextEncoder().encode('${MAGIC}'), sealed.length);
  return whole.buffer;
}`;

/** The context, with all that its pages say and hear planted. */
async function listening(context, canaries) {
  context.on('page', page => page.on('websocket', socket => {
    for (const event of ['framesent', 'framereceived']) {
      socket.on(event, ({ payload }) => canaries.signaling(JSON.parse(payload.toString())));
    }
  }));
  return context;
}

/** The links to a call, a new one unless its host link is given, with all its secrets planted. */
async function linksOf(canaries, own) {
  const host = own ?? (await newLink(globalThis.crypto, `http://${NAMES[0]}`)).host;
  const invite = await inviteLink(globalThis.crypto, host, `http://${NAMES[0]}`);
  const secrets = await openLink(globalThis.crypto, host);
  const fragment = hostFragment(invite);
  canaries.bytes('host secret', hostFragment(host));
  canaries.bytes('invite', fragment);
  canaries.bytes('invite secret', Buffer.from(fragment, 'base64url').subarray(0, 32).toString('base64url'));
  for (const name of ['call', 'admission', 'host', 'psk']) canaries.bytes(name, Buffer.from(secrets[name]).toString('base64url'));
  return { invite: (n, name = NAMES[n]) => `http://${name}/c#${fragment}` };
}

function hostFragment(link) {
  return new URL(link, 'http://any').hash.slice(1);
}

/** Runs the load tester in a place; how it ended and what it printed. */
async function load(place, args) {
  const child = spawn(place.enter[0], [...place.enter.slice(1), LOADTEST, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => (output += text));
  const [code] = await once(child, 'exit');
  return { code, output };
}

/** By how much all samples whose name begins so have grown. */
function moved(before, now, prefix) {
  let sum = 0;
  for (const [name, value] of now) if (name.startsWith(prefix)) sum += value - (before.get(name) ?? 0);
  return sum;
}

/** A binding request (RFC 8489) with that user name and no integrity. */
function stun(user) {
  const name = Buffer.from(user);
  const padded = Buffer.concat([name, Buffer.alloc((4 - (name.length % 4)) % 4)]);
  const header = Buffer.from([0, 1, 0, 4 + padded.length, 0x21, 0x12, 0xa4, 0x42]);
  return Buffer.concat([header, randomBytes(12), Buffer.from([0, 6, 0, name.length]), padded]);
}

const hex = bytes => randomBytes(bytes).toString('hex');
