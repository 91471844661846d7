// What the page says: that every error says what to do, and that nothing is claimed that the server did not state.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SottoError } from '../../web/sdk/error.js';
import { keepsSentence } from '../../web/page/keeps.js';
import { callWords, deviceWords, listed } from '../../web/page/words.js';
import { colourOf, initials } from '../../web/page/tile.js';

test('every reason why a call cannot be joined has its own words and says what to do', () => {
  const codes = ['refused', 'full', 'unavailable', 'replaced', 'version', 'ended', 'link', 'unsupported',
    'unreachable', 'lost', 'media', 'encryption'];
  const titles = new Set();
  for (const code of codes) {
    const { title, text } = callWords(new SottoError(code));
    titles.add(title);
    assert.match(text, /[Tt]ry|[Aa]sk|[Uu]se|[Cc]heck|[Rr]eload|[Cc]opy|join|Join|another tab/, code);
  }
  assert.equal(titles.size, codes.length);
  assert.match(callWords({ code: 'of tomorrow', message: 'What?' }).text, /What\?/);
});

test('each failure of a device is told apart, and joining without is offered', () => {
  const said = ['NotAllowedError', 'NotFoundError', 'NotReadableError', 'Other'].map((name) =>
    deviceWords(new DOMException('', name), { audio: false, video: true }));
  assert.doesNotMatch(deviceWords(null, { audio: true, video: false }, true).text, /join/);
  assert.equal(new Set(said.map(({ title }) => title)).size, 4);
  for (const { title, text } of said) {
    assert.match(title, /camera/);
    assert.match(text, /[Tt]ry again/);
    assert.match(text, /join without/);
  }
});

test('what the server keeps is said only as it stated it', () => {
  assert.match(keepsSentence({ retention_days: 0 }), /keeps nothing/);
  assert.match(keepsSentence({ retention_days: 1 }), /one day/);
  assert.match(keepsSentence({ retention_days: 90 }), /90 days/);
  for (const days of ['7', -1, NaN, undefined]) assert.equal(keepsSentence({ retention_days: days }), '');
  for (const statement of [null, undefined, []]) {
    assert.equal(keepsSentence(statement), '');
  }
});

test('names of any script become initials and a steady colour', () => {
  assert.equal(initials('Ana'), 'A');
  assert.equal(initials('  Yuki van der  Tanaka '), 'YT');
  assert.equal(initials('李 小龙'), '李小');
  assert.equal(initials('\u{1F984} x'), '\u{1F984}X');
  assert.equal(initials('   '), '?');
  assert.equal(colourOf('Ana'), colourOf('Ana'));
  assert.equal(listed(['Ana', 'Ben', 'Eva']), 'Ana, Ben and Eva');
  assert.equal(listed([]), '');
});
