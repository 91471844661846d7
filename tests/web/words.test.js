// What the page says: that every error says what to do, and that nothing is claimed that the server did not state.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SottoError } from '../../web/sdk/error.js';
import { keepsSentence } from '../../web/page/keeps.js';
import { callWords, changeWords, deviceWords, knockWords, listed, pathWords, waitingCode } from '../../web/page/words.js';
import { colourOf, initials } from '../../web/page/tile.js';

test('every reason why a call cannot be joined has its own words and says what to do', () => {
  const codes = ['refused', 'full', 'unavailable', 'replaced', 'version', 'ended', 'link', 'unsupported',
    'unreachable', 'lost', 'media', 'encryption', 'removed', 'denied', 'deserted'];
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

test('each path is told apart, and nothing is claimed of a path to nobody', () => {
  const tunnel = pathWords('tunnel', 2, true);
  const forwarded = pathWords('forwarded', 3, true);
  assert.equal(new Set([tunnel.badge, forwarded.badge, '']).size, 3);
  assert.match(tunnel.text, /no key at all/);
  assert.match(forwarded.text, /never what is inside.*More than two/s);
  assert.match(pathWords('forwarded', 2, false).text, /You turned off/);
  assert.doesNotMatch(pathWords('forwarded', 2, true).text, /You turned off/);
  assert.equal(pathWords('forwarded', 1, true).badge, '');
});

test('the reason for a new code names who came, who left and whom the host removed', () => {
  assert.equal(changeWords({ joined: ['Ana'], left: [], removed: ['Ben', 'Eva'] }), 'Ana came and Ben and Eva were removed by the host');
  assert.equal(changeWords({ joined: [], left: ['Ana'], removed: ['Ben'] }), 'Ana left and Ben was removed by the host');
  assert.equal(changeWords({ joined: [], left: [], removed: [] }), '');
});

test('those at the door are named while they are few', () => {
  assert.equal(knockWords(['Eva']), 'Eva asks to come in.');
  assert.equal(knockWords(['Eva', 'Dan']), 'Eva and Dan ask to come in.');
  assert.equal(knockWords(['A', 'B', 'C', 'D']), '4 people ask to come in.');
});

test('to be removed before one was let in is to be refused', () => {
  assert.deepEqual(['removed', 'ended', 'lost', undefined].map(waitingCode), ['denied', 'deserted', 'lost', undefined]);
});
