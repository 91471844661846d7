// What the statement's page and the receipt make of what the server says.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { receiptWords } from '../../web/page/receipt.js';
import { addressOf, ageWords, compare } from '../../web/page/transparency.js';

const row = { ended_day: '2026-11-22', duration_minutes: 12, peak_participants: 3, end_reason: 'completed', expires_at: 1_795_939_200 };

test('what is the same in both ways of carrying a call is said once, and what differs is said of each', () => {
  const [address, keys, size] = ['address', 'keys', 'size'].map((what) => ({ what, why: 'so', until: 'later' }));
  const longer = { ...size, until: 'much later' };
  assert.deepEqual(compare([[address, size], [address, keys, longer]]), { both: [address], own: [[size], [keys, longer]] });
  assert.deepEqual(compare([[address]]), { both: [], own: [[address]] });
});

test('an age of no rows, of today and of days is told apart', () => {
  assert.deepEqual([null, 0, 1, 6].map(ageWords), ['none', 'today', '1 day', '6 days']);
});

test('each file of the client is looked for where the server has it', () => {
  assert.deepEqual(['index.html', 'transparency.html', 'sdk/sotto.js'].map(addressOf), ['/', '/transparency', '/sdk/sotto.js']);
});

test('a receipt says whether it was stored, will be, or is not, and when it is erased', () => {
  const last = receiptWords({ final: true, retention_days: 7, row });
  assert.match(last.title, /was stored/);
  const said = Object.fromEntries(last.rows);
  assert.match(said.Day, /November 22, 2026/);
  assert.match(said.Length, /12 minutes/);
  assert.equal(said['How it ended'], 'everybody left');
  assert.match(said.Erased, /2026.*an hour later/);
  const first = receiptWords({ final: false, retention_days: 1, row: { ...row, peak_participants: 1, duration_minutes: 1 } });
  assert.match(first.title, /will be stored/);
  assert.match(first.text, /Once the last person has left.*for one day/);
  assert.equal(Object.fromEntries(first.rows)['How it ended'], 'goes on without you');
  const none = receiptWords({ final: true, retention_days: 0, row: null });
  assert.match(none.title, /Nothing/);
  assert.deepEqual(none.rows, []);
});
