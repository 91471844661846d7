// The WebSocket client, against a socket that the test plays.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { SottoError } from '../../web/sdk/error.js';
import { Signaling, retryDelay, socketUrl } from '../../web/sdk/signaling.js';

class Socket {
  readyState = 1;
  sent = [];
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
  }
  says(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

function open() {
  const socket = new Socket();
  let now = 0;
  let asked;
  const signaling = new Signaling('wss://relay.example/v1/ws', {
    open: (url, protocol) => ((asked = [url, protocol]), socket),
    now: () => now,
  });
  return { socket, signaling, asked, advance: (ms) => ((now += ms), mock.timers.tick(ms)) };
}

async function joined(rate = 100) {
  const all = open();
  const joining = all.signaling.join(async (nonce) => ({ call: 'c', nonceSeen: nonce }));
  all.socket.says({ type: 'welcome', v: 1, nonce: 'n0' });
  await settle();
  all.socket.says({ type: 'joined', participant: 'p1', participants: [], limits: { rate } });
  await joining;
  return all;
}

const settle = () => new Promise((resolve) => setImmediate(resolve));
const timers = (t) => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  t.after(() => mock.timers.reset());
};

test('the socket is opened at the host of the link, with the protocol named and without the fragment', () => {
  assert.equal(socketUrl('https://call.example:8443/c#secret'), 'wss://call.example:8443/v1/ws');
  assert.equal(socketUrl('http://127.0.0.1:8080/c#secret'), 'ws://127.0.0.1:8080/v1/ws');
  assert.deepEqual(open().asked, ['wss://relay.example/v1/ws', 'sotto.v1']);
});

test('the welcome is answered with the admission for its nonce, and joining resolves with the roster', async (t) => {
  timers(t);
  const { socket, signaling } = await joined();
  assert.deepEqual(socket.sent, [{ type: 'join', v: 1, call: 'c', nonceSeen: 'n0' }]);
  signaling.close();
  assert.deepEqual(socket.sent.at(-1), { type: 'leave' });
});

test('a refusal keeps its code, a server of another version and a silent one are told apart', async (t) => {
  timers(t);
  for (const code of ['refused', 'full', 'unavailable']) {
    const { socket, signaling } = open();
    const joining = signaling.join(async () => ({}));
    socket.says({ type: 'error', code, message: '', fatal: true });
    await assert.rejects(joining, { code });
  }
  const other = open();
  const joining = other.signaling.join(async () => ({}));
  other.socket.says({ type: 'welcome', v: 2, nonce: 'n' });
  await assert.rejects(joining, { code: 'version' });
  const silent = open();
  const waiting = silent.signaling.join(async () => ({}));
  silent.advance(20_000);
  await assert.rejects(waiting, { code: 'unreachable' });
  const closed = open();
  const failing = closed.signaling.join(async () => ({}));
  closed.socket.onclose();
  await assert.rejects(failing, { code: 'unreachable' });
});

test('nothing is said before the server has admitted us, and what was said then is not said later', async (t) => {
  timers(t);
  const { socket, signaling } = open();
  const joining = signaling.join(async () => ({}));
  signaling.send({ type: 'relay', data: 'early' });
  await assert.rejects(signaling.offer('early'), { code: 'lost' });
  socket.says({ type: 'welcome', v: 1, nonce: 'n' });
  await settle();
  signaling.send({ type: 'relay', data: 'still early' });
  signaling.addEventListener('joined', () => signaling.send({ type: 'relay', data: 'in time' }));
  socket.says({ type: 'joined', participant: 'p', participants: [], limits: { rate: 100 } });
  await joining;
  assert.deepEqual(socket.sent.map(({ type, data }) => data ?? type), ['join', 'in time']);
  signaling.close();
});

test('each answer resolves its own offer', async (t) => {
  timers(t);
  const { socket, signaling } = await joined();
  const first = signaling.offer('o1');
  const second = signaling.offer('o2');
  const [one, two] = socket.sent.filter(({ type }) => type === 'offer');
  assert.ok(two.id > one.id);
  socket.says({ type: 'answer', id: two.id, sdp: 'a2' });
  socket.says({ type: 'answer', id: one.id, sdp: 'a1' });
  assert.deepEqual(await Promise.all([first, second]), ['a1', 'a2']);
  signaling.close();
});

test('an offer that the relay cannot answer is rejected and the connection stands', async (t) => {
  timers(t);
  const { socket, signaling } = await joined();
  const offer = signaling.offer('o1');
  socket.says({ type: 'error', code: 'offer', message: 'too many lines', fatal: false });
  await assert.rejects(offer, { code: 'offer' });
  const again = signaling.offer('o2');
  socket.says({ type: 'answer', id: 2, sdp: 'a' });
  assert.equal(await again, 'a');
  signaling.close();
});

test('in no second do more messages go out than the server allows, none is lost and order is kept', async (t) => {
  timers(t);
  const { socket, signaling, advance } = await joined(10);
  const times = [];
  const data = [];
  socket.send = (text) => {
    const message = JSON.parse(text);
    times.push(clock);
    if (message.type === 'relay') data.push(message.data);
  };
  let clock = 0;
  for (let n = 0; n < 50; n += 1) signaling.send({ type: 'relay', data: String(n) });
  for (; clock < 30_000; clock += 50) {
    if (clock % 5000 === 0) socket.says({ type: 'pong', t: 0 });
    advance(50);
  }
  for (const [index, time] of times.entries()) {
    const within = times.slice(index).filter((other) => other < time + 1000).length;
    assert.ok(within <= 10, `${within} in a second`);
  }
  assert.deepEqual(data, Array.from({ length: 50 }, (_, n) => String(n)));
  signaling.close();
});

test('a path that swallows pings is found dead, one that answers is not', async (t) => {
  timers(t);
  const { socket, signaling, advance } = await joined();
  const lost = [];
  signaling.addEventListener('lost', (event) => lost.push(event.detail.code));
  for (let s = 0; s < 60; s += 1) {
    advance(1000);
    if (socket.sent.at(-1).type === 'ping') socket.says({ type: 'pong', t: 0 });
  }
  assert.deepEqual(lost, []);
  for (let s = 0; s < 20; s += 1) advance(1000);
  assert.deepEqual(lost, ['lost']);
});

test('losing the socket rejects what waits, and closing it ourselves is silent', async (t) => {
  timers(t);
  const one = await joined();
  const offer = one.signaling.offer('o');
  one.socket.onclose();
  await assert.rejects(offer, { code: 'lost' });
  const two = await joined();
  two.signaling.addEventListener('lost', () => assert.fail('we closed it'));
  two.signaling.close();
  two.socket.onclose?.();
});

test('what is not of the protocol is ignored', async (t) => {
  timers(t);
  const { socket, signaling } = await joined();
  signaling.addEventListener('lost', () => assert.fail('a server cannot fake the loss by a message'));
  for (const data of ['', '{', 'null', '[]', '7', '{"type":7}', '{"type":"lost"}', '{"type":"answer","id":9}']) {
    socket.onmessage({ data });
  }
  signaling.close();
});

test('waiting times double, are capped, and differ between clients', () => {
  const full = Array.from({ length: 8 }, (_, n) => retryDelay(n, () => 1));
  assert.deepEqual(full, [300, 600, 1200, 2400, 4800, 8000, 8000, 8000]);
  assert.equal(retryDelay(0, () => 0), 150);
  assert.equal(retryDelay(1e9, () => 1), 8000);
});

test('leaving waits for the receipt, hands it on, and for nothing else', async (t) => {
  timers(t);
  const { socket, signaling } = await joined();
  const seen = [];
  for (const type of ['receipt', 'participant', 'lost']) signaling.addEventListener(type, ({ detail }) => seen.push([type, detail]));
  const left = signaling.leave();
  assert.deepEqual(socket.sent.at(-1), { type: 'leave' });
  socket.says({ type: 'participant', id: 'late' });
  const receipt = { type: 'receipt', final: true, retention_days: 7, row: null };
  socket.says(receipt);
  await left;
  assert.deepEqual(seen, [['receipt', receipt]]);
  assert.equal(socket.readyState, 3);
});

test('a server that says nothing after our goodbye is not waited for', async (t) => {
  timers(t);
  const { socket, signaling, advance } = await joined();
  const left = signaling.leave();
  advance(1_000);
  await left;
  assert.equal(socket.readyState, 3);
});

test('whoever waits at a locked call may knock, for as long as it takes, and is given up only by their own wish', async (t) => {
  timers(t);
  const { socket, signaling, advance } = open();
  const joining = signaling.join(async () => ({ call: 'c' }));
  socket.says({ type: 'welcome', v: 1, nonce: 'n0' });
  await settle();
  socket.says({ type: 'waiting', participant: 'p1', state: {} });
  signaling.send({ type: 'knock', data: 'x' });
  assert.deepEqual(socket.sent.at(-1), { type: 'knock', data: 'x' });
  for (let n = 0; n < 40; n += 1) {
    advance(1_000);
    socket.says({ type: 'pong', t: 0 });
  }
  socket.says({ type: 'joined', participant: 'p1', participants: [], limits: { rate: 100 } });
  assert.equal((await joining).participant, 'p1');
  signaling.close();

  const second = open();
  const waiting = second.signaling.join(async () => ({ call: 'c' }));
  second.socket.says({ type: 'welcome', v: 1, nonce: 'n0' });
  await settle();
  second.socket.says({ type: 'waiting', participant: 'p2', state: {} });
  second.signaling.close(new SottoError('aborted'));
  await assert.rejects(waiting, { code: 'aborted' });
});
