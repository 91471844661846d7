// That the protocol's rules, as `docs/e2ee.md` numbers them, are each held by a test that names it, and that the document
// names files and tests that there are.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';

const RULES = 25;
const here = new URL('./', import.meta.url);
const titles = readdirSync(here).filter(name => name.endsWith('.test.js')).flatMap(name => (
  [...readFileSync(new URL(name, here), 'utf8').matchAll(/^test\('([^']+)'/gm)].map(([, title]) => title)
));

/** The rules that a title names before its colon: `rule 9`, `rules 1, 3 and 4`. */
const named = title => (/^rules? ([\d, and]+):/.exec(title)?.[1].match(/\d+/g) ?? []).map(Number);

test('each of the 25 rules is named by a test', () => {
  assert.ok(titles.length > 100, `${titles.length} titles were found`);
  const held = new Set(titles.flatMap(named));
  const missing = Array.from({ length: RULES }, (_, at) => at + 1).filter(rule => !held.has(rule));
  assert.deepEqual(missing, []);
  assert.deepEqual([...held].filter(rule => rule < 1 || rule > RULES), []);
});
