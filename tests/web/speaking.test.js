// Speaking hints: one digit each, steady, and forgiving of pauses between words.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HINT_MS, STALE_MS, Speaker, levelOf } from '../../web/sdk/speaking.js';

test('every level is one digit, so that all hints have one size', () => {
  for (const rms of [-1, 0, NaN, 1e-9, 0.001, 0.01, 0.1, 0.5, 1, 40, Infinity]) {
    assert.match(JSON.stringify({ level: levelOf(rms) }), /^\{"level":\d\}$/);
  }
  assert.equal(levelOf(0), 0);
  assert.equal(levelOf(1), 9);
  assert.ok(levelOf(0.03) > levelOf(0.003));
});

test('somebody who speaks is shown at once and through a short pause', () => {
  const speaker = new Speaker();
  assert.equal(speaker.hear(1, 0), false);
  assert.equal(speaker.hear(6, HINT_MS), true);
  assert.equal(speaker.speaking, true);
  speaker.hear(0, HINT_MS * 2);
  speaker.hear(0, HINT_MS * 3);
  assert.equal(speaker.speaking, true);
  for (let n = 4; n < 8; n += 1) speaker.hear(0, HINT_MS * n);
  assert.equal(speaker.speaking, false);
});

test('hints that stop leave nobody speaking', () => {
  const speaker = new Speaker();
  speaker.hear(9, 0);
  assert.equal(speaker.tick(STALE_MS + 1), true);
  assert.equal(speaker.speaking, false);
});

test('a level that is no digit counts as silence', () => {
  const speaker = new Speaker();
  for (const level of ['9', 99, -3, NaN, null, undefined, {}]) {
    speaker.hear(level, 0);
    assert.equal(speaker.level, 0);
    assert.equal(speaker.speaking, false);
  }
});
