// docs/privacy.md names tests for its claims: that each of them exists, and that no claim stands without one.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const root = new URL('../../', import.meta.url);
const text = readFileSync(new URL('docs/privacy.md', root), 'utf8');

/** The table under a heading, its cells by rows. */
function table(heading) {
  const section = text.split(/^## /m).find((part) => part.startsWith(heading)) ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| ')).slice(1);
  return rows.map((row) => row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()));
}

/** Everything that is Rust, as one text. */
function rust() {
  const folders = ['src', 'signaling', 'loadtest', 'tests'];
  const files = folders.flatMap((folder) => readdirSync(new URL(`${folder}/`, root), { recursive: true })
    .filter((name) => name.endsWith('.rs') && !name.startsWith('target')).map((name) => new URL(`${folder}/${name}`, root)));
  return files.map((file) => readFileSync(file, 'utf8')).join('\n');
}

test('every claim of docs/privacy.md names tests, and each of them exists', () => {
  const source = rust();
  const rows = table('On one page');
  assert.ok(rows.length >= 15, 'the table was found');
  for (const [claim, how, tests] of rows) {
    assert.ok(claim && how && tests, `without a test: ${claim}`);
    const named = [...tests.matchAll(/`([^`]+)`(?: "([^"]+)")?/g)];
    assert.ok(named.length > 0, claim);
    for (const [, name, title] of named) {
      if (name.includes('/')) {
        assert.ok(existsSync(new URL(name, root)), `${claim}: there is no ${name}`);
        if (!title) continue;
        const found = [`test('${title}'`, `test("${title}"`, `test(\`${title}\``];
        const file = readFileSync(new URL(name, root), 'utf8');
        assert.ok(found.some((start) => file.includes(start)), `${claim}: ${name} has no test "${title}"`);
      } else {
        assert.match(name, /^[a-z0-9_]+$/, claim);
        assert.match(source, new RegExp(`#\\[(?:tokio::)?test[^\\]]*\\](?:\\s*#\\[[^\\]]*\\])*\\s*(?:async )?fn ${name}\\(`), `${claim}: no test ${name}`);
      }
    }
    const left = tests.replace(/`[^`]+`(?: "[^"]+")?/g, '').replace(/[,\s]/g, '');
    assert.equal(left, '', `${claim}: what is "${left}"?`);
  }
});

test('what the relay sees is told for both ways, and the fields of the row are all there', () => {
  const rows = table('What the relay sees');
  assert.ok(rows.length >= 12, 'the table was found');
  for (const row of rows) {
    assert.equal(row.length, 4);
    const [field, tunnel, forwarding, until] = row;
    assert.ok(field && tunnel && forwarding, field);
    assert.ok(until || /cannot see/.test(tunnel + forwarding), `${field}: until when?`);
  }
  const { tables: [{ columns }] } = JSON.parse(readFileSync(new URL('docs/transparency.example.json', root), 'utf8'));
  const words = {
    id: 'a random number', ended_day: 'the day', duration_minutes: 'the duration in minutes', peak_participants: 'the most people',
    end_reason: 'how it\nended', expires_at: 'when the row is erased',
  };
  for (const { name } of columns) assert.ok(words[name] && text.includes(words[name]), `not told of: ${name}`);
});
