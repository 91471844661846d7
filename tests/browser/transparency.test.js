// The page on which the server tells what it sees and keeps: all of its statement is there, in order, and can be held
// against what is sent and stored. Leaves pictures in out/.
import assert from 'node:assert/strict';
import test, { after, afterEach, before } from 'node:test';
import { eventually, startChromium } from './harness/browsers.js';
import { at, open, pictures, start } from './harness/pages.js';
import { HTTP, Relay } from './harness/relay.js';

let relay, chromium;
// also after a failure, so that what it left open slows nobody down
afterEach(() => Promise.all(chromium.contexts().map(context => context.close())));
before(async () => {
  [relay, chromium] = await Promise.all([Relay.start({ SOTTO_TUNNEL: 'on' }), startChromium()]);
});
after(async () => {
  await chromium?.close();
  await relay?.stop();
});

const statement = () => fetch(`${HTTP}/transparency.json`).then(response => response.json());

/** Every string in a value, with its way there. */
function strings(value, way = '') {
  if (typeof value === 'string') return [[way, value]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => strings(each, `${way}.${key}`));
}

test('the page leaves out nothing of what the server states, and counts what is stored', async () => {
  const page = await open(chromium);
  const complaints = [];
  page.on('pageerror', error => complaints.push(String(error)));
  page.on('console', message => message.type() === 'error' && complaints.push(message.text()));
  await start(page, 'Ana');
  await page.click(at('leave'));
  await eventually('the row', () => relay.tables().call_log.length === 1);
  await eventually('it is counted', async () => (await statement()).rows === 1); // the statement is made once a second

  await page.goto(HTTP);
  await page.click('.foot a');
  await page.waitForSelector('#statement', { state: 'visible' });
  assert.equal(new URL(page.url()).pathname, '/transparency');
  const stated = await statement();
  const shown = (await page.textContent('main')).toLowerCase();
  const codes = new Set(['.tls.ends', ...stated.tables.flatMap(({ columns }, n) => columns.map((_, at) => `.tables.${n}.columns.${at}.type`)),
    ...stated.modes.map((_, n) => `.modes.${n}.name`)]);
  const missing = strings(stated).filter(([way, text]) => !codes.has(way) && !shown.includes(text.toLowerCase().replace(/[.]$/, '')));
  assert.deepEqual(missing, []);
  const [{ columns }] = stated.tables;
  const stored = Object.keys(relay.tables().call_log[0]);
  assert.deepEqual(columns.map(({ name }) => name), stored, 'the fields are those of the store');
  assert.deepEqual(await page.$$eval('#tables tbody th', cells => cells.map(cell => cell.textContent)), stored);
  const counts = await page.$$eval('#counts div', pairs => Object.fromEntries(pairs.map(pair => [...pair.children].map(each => each.textContent))));
  assert.deepEqual(counts, {
    'rows now': '1', 'age of the oldest row': 'today', 'rows written since start': '1', 'rows erased since start': '0',
    'a row is kept for': '7 days',
  });
  const modes = await page.$$eval('#modes article', cards => cards.map(card => card.textContent));
  assert.equal(modes.length, 2, 'tunnel and forwarding stand side by side');
  const [left, right] = await page.$$eval('#modes article', cards => cards.map(card => card.getBoundingClientRect()).map(({ x, y }) => ({ x, y })));
  assert.ok(left.y === right.y && left.x < right.x);
  const said = await page.$$eval('#tables, #counts, #modes, #both, #memory, #never, #build', places => places.map(place => place.textContent));
  assert.ok(said.every(text => text.trim() !== '' && !/undefined|null|NaN|\[object/.test(text)));
  await pictures(page, 'transparency', { full: true });
  assert.deepEqual(complaints, []);
});

test('the files that the browser gets can be compared with the stated hashes, and one that differs is named', async () => {
  const page = await open(chromium);
  await page.goto(`${HTTP}/transparency`);
  await page.waitForSelector('#statement', { state: 'visible' });
  await page.click(at('compare'));
  const { files } = (await statement()).build.web;
  await eventually('all agree', async () => (await page.textContent(at('compared'))).startsWith(`All ${files.length} files`));
  await page.route('**/e2ee/core.js', async route => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `${await response.text()}\n` });
  });
  await page.click(at('compare'));
  await eventually('the altered one is named', async () => /^Not as stated: e2ee\/core\.js\./.test(await page.textContent(at('compared'))));
});

test('without JavaScript the page links the statement, and a server that states nothing is not excused', async () => {
  const context = await chromium.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${HTTP}/transparency`);
  assert.ok(await page.isVisible('noscript a[href="/transparency.json"]'));
  const silent = await open(chromium);
  await silent.route('**/transparency.json', route => route.fulfill({ status: 503, body: 'the call log cannot be read now\n' }));
  await silent.goto(`${HTTP}/transparency`);
  await eventually('it is said', async () => /did not say what it keeps/.test(await silent.textContent(at('summary'))));
  assert.equal(await silent.isVisible('#statement'), false);
  await silent.goto(HTTP);
  await eventually('and on the start page', async () => /did not state what it keeps/.test(await silent.textContent('#landing .keeps')));
});
