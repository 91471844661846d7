// That each rule of `docs/e2ee.md` is held by a test that names it, and that the document names what there is.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import test from 'node:test';

const RULES = 25;
const MARK = '<!-- rules -->';
const here = new URL('./', import.meta.url);
const page = new URL('../../docs/e2ee.md', import.meta.url);

/** Every test of this folder, as {file, title, rules}. */
const tests = readdirSync(here).filter(name => name.endsWith('.test.js')).sort().flatMap(file => (
  [...readFileSync(new URL(file, here), 'utf8').matchAll(/^test\('([^']+)'/gm)]
    .map(([, title]) => ({ file, title, rules: named(title) }))
));

/** The rules that a title names before its colon: `rule 9`, `rules 1, 3 and 4`. */
function named(title) {
  return (/^rules? ([\d, and]+):/.exec(title)?.[1].match(/\d+/g) ?? []).map(Number);
}

/** The tests of each rule, as the document has them. */
function listed() {
  let text = '';
  for (let rule = 1; rule <= RULES; rule++) {
    text += `\n**Rule ${rule}**\n\n`;
    const mine = tests.filter(({ rules }) => rules.includes(rule));
    for (const { file, title } of mine) text += `- ${title.slice(title.indexOf(': ') + 2)} (\`${file}\`)\n`;
  }
  return text;
}

test('each of the 25 rules is named by a test', () => {
  assert.ok(tests.length > 100, `${tests.length} tests were found`);
  const held = new Set(tests.flatMap(({ rules }) => rules));
  const missing = Array.from({ length: RULES }, (_, at) => at + 1).filter(rule => !held.has(rule));
  assert.deepEqual(missing, []);
  assert.deepEqual([...held].filter(rule => rule < 1 || rule > RULES), []);
});

test('docs/e2ee.md has the 25 rules, names files that there are, and lists the tests that there are', () => {
  const text = readFileSync(page, 'utf8');
  const [body, list] = text.split(MARK);
  const numbers = [...body.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));
  assert.deepEqual(numbers, Array.from({ length: RULES }, (_, at) => at + 1));
  for (const [, files] of body.matchAll(/\*\(([^)]+)\)\*/g)) {
    for (const [, file] of files.matchAll(/`([\w/.-]+\.(?:js|rs))`/g)) {
      const place = new URL(file.includes('/') ? `../../${file}` : `../../web/e2ee/${file}`, here);
      assert.ok(existsSync(place), file);
    }
  }
  if (process.env.WRITE_RULES) writeFileSync(page, body + MARK + listed());
  else assert.equal(list, listed(), 'the list of tests is out of date: run this file with WRITE_RULES=1');
});
