// The chat log: what hostile or repeated messages do to it, and who may take what back.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChatLog } from '../../web/sdk/chat.js';
import { Participant } from '../../web/sdk/participant.js';

function bench() {
  const told = [];
  const log = new ChatLog(({ id, text }, change) => told.push([change, id, text]));
  return { log, told, ana: new Participant('a', 'Ana'), ben: new Participant('b', 'Ben') };
}

test('a message is taken back by its author, and its text is gone', () => {
  const { log, told, ana, ben } = bench();
  log.receive(ana, { id: '1', text: 'secret' });
  assert.equal(log.takeBack(ben, '1'), false);
  assert.equal(log.messages[0].text, 'secret');
  assert.equal(log.takeBack(ana, '1'), true);
  assert.equal(log.takeBack(ana, '1'), false);
  assert.doesNotMatch(JSON.stringify(log.messages), /secret/);
  assert.deepEqual(told, [['new', '1', 'secret'], ['unsent', '1', '']]);
});

test('a message of the wrong form, or with an id that is taken, is dropped', () => {
  const { log, ana, ben } = bench();
  log.receive(ana, { id: '1', text: 'first' });
  log.receive(ben, { id: '1', text: 'instead' });
  const bad = [{}, { id: 1, text: 'x' }, { id: '2' }, { id: '2', text: {} }, { id: 'x'.repeat(65), text: 'x' }];
  for (const body of bad) log.receive(ben, body);
  assert.deepEqual(log.messages.map(({ text }) => text), ['first']);
});

test('neither many messages nor long ones fill the memory', () => {
  const { log, ana } = bench();
  for (let n = 0; n < 2_000; n += 1) log.receive(ana, { id: String(n), text: 'y'.repeat(5_000) });
  assert.equal(log.messages.length, 500);
  assert.equal(log.messages.at(-1).id, '1999');
  assert.ok(log.messages.every(({ text }) => text.length === 2_000));
});

test('every message of ours has an id of its own', () => {
  const { log, ana } = bench();
  const ids = new Set(Array.from({ length: 100 }, () => log.write(ana, 'hello').id));
  assert.equal(ids.size, 100);
});
