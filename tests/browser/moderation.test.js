// The call in its people's hands, on the page as they use it: the call is locked, who knocks is let in or not, somebody is
// removed, all are asked to mute, and who leaves is told what was stored. Leaves pictures in out/.
import assert from 'node:assert/strict';
import test, { after, afterEach, before } from 'node:test';
import { eventually, startChromium } from './harness/browsers.js';
import { allLit, ask, at, banner, enter, lit, open, pictures, start, words } from './harness/pages.js';
import { Relay } from './harness/relay.js';

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

const code = page => page.evaluate(() => sotto.call.verificationCode);
const visible = (page, selector) => page.waitForSelector(selector, { state: 'visible' });
/** Opens the people panel, or leaves it open. */
const people = async page => {
  if (!await page.isVisible('#panel-people')) await page.click('#open-people');
};
/** Names at the door, as the page lists them. */
const door = page => page.$$eval(`${at('knocks')} li > span`, spans => spans.map(span => span.textContent));

test('a locked call: the door shows a name, the host lets in or not, removes, and asks for quiet', async t => {
  const [ana, ben, eva, dan] = await Promise.all([open(chromium), open(chromium), open(chromium), open(chromium)]);
  const complaints = [];
  for (const [name, page] of Object.entries({ ana, ben, eva, dan })) {
    page.on('pageerror', error => complaints.push(`${name}: ${error}`));
    page.on('console', message => message.type() === 'error' && complaints.push(`${name}: ${message.text()}`));
  }
  const link = await start(ana, 'Ana');
  await enter(ben, link, 'Ben');
  await allLit([ana, ben]);

  // Who has the host's link has the controls, and is named as host to all.
  await people(ana);
  await people(ben);
  assert.equal(await ana.isVisible('#hosting'), true);
  assert.equal(await ben.isVisible('#hosting'), false);
  assert.equal(await ben.$$eval(`${at('people')} button`, buttons => buttons.length), 0);
  for (const page of [ana, ben]) {
    await eventually('the host is named', () => page.evaluate(at => [...document.querySelectorAll(`${at} li`)]
      .some(entry => /^Ana/.test(entry.textContent) && entry.querySelector('.tag')?.textContent === 'Host'), at('people')));
  }
  await assert.rejects(ben.evaluate(() => sotto.call.lock(true)), 'a guest cannot');

  await ana.focus(at('lock'));
  await ana.keyboard.press('Space');
  for (const page of [ana, ben]) await visible(page, at('locked'));
  assert.match(await words(ben, at('lock-note')), /locked.*until the host lets them in/s);

  // Eva knocks. Nothing of the call reaches her, and her name reaches those inside.
  await ask(eva, link, 'Eva');
  await visible(eva, at('waiting'));
  assert.equal(await eva.evaluate(() => document.activeElement.id), 'waiting-title');
  await pictures(eva, 'waiting');
  await eventually('a knock', async () => (await door(ana)).join() === 'Eva' && (await door(ben)).join() === 'Eva');
  assert.equal(await ben.$$eval(`${at('knocks')} button`, buttons => buttons.length), 0, 'guests only look');
  assert.equal(await ana.$eval('#knock-count', badge => badge.hidden ? '' : badge.textContent), '1');
  await ana.keyboard.press('Escape');
  await eventually('the host is asked', async () => await banner(ana) === 'Eva asks to come in.');
  assert.equal(await banner(ben), '');
  await ana.click('#banner-action');
  assert.equal(await ana.evaluate(() => document.activeElement.id), 'knocking-title');
  assert.equal(await banner(ana), '', 'not asked twice');
  await pictures(ana, 'host-panel');
  for (const page of [ana, ben]) assert.equal(await lit(page), 2, 'nobody is let in by knocking');
  assert.equal(await eva.evaluate(() => sotto.call), null);
  const alone = await code(ana);

  // By keyboard: from the heading to the button that lets her in.
  await ana.keyboard.press('Tab');
  assert.equal(await ana.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Let Eva in');
  await ana.keyboard.press('Enter');
  await allLit([ana, ben, eva]);
  await eventually('one code', async () => {
    const codes = await Promise.all([ana, ben, eva].map(code));
    return codes[0] !== '' && codes[0] !== alone && new Set(codes).size === 1;
  });
  assert.match(await words(ben, '#code-change'), /^New code, because Eva came\.$/);
  await eventually('nobody at the door', async () => (await door(ana)).length === 0);

  // Dan gives up waiting, asks again, and is refused.
  await ask(dan, link, 'Dan');
  await visible(dan, at('waiting'));
  await eventually('a knock', async () => (await door(ana)).join() === 'Dan');
  await dan.click(at('stop-waiting'));
  await visible(dan, at('join'));
  await eventually('nobody at the door', async () => (await door(ana)).length === 0);
  await eventually('ready again', () => dan.evaluate(at => !document.querySelector(at).disabled, at('join')));
  await dan.click(at('join'));
  await visible(dan, at('waiting'));
  await eventually('a knock', async () => (await door(ana)).join() === 'Dan');
  await ana.click(`${at('knocks')} button[aria-label="Do not let Dan in"]`);
  await visible(dan, '#ended-title');
  assert.equal(await words(dan, '#ended-title'), 'The host did not let you in');
  await eventually('nobody at the door', async () => (await door(ana)).length === 0);
  for (const page of [ana, ben, eva]) assert.equal(await lit(page), 3);

  // All are asked to mute; who wants to speak unmutes.
  await ana.click(at('mute-all'));
  for (const page of [ben, eva]) {
    await eventually('it is said', async () => await banner(page) === 'Ana, the host, asked everybody to mute. You are muted.');
    assert.equal(await page.evaluate(() => sotto.call.microphone), false);
  }
  assert.equal(await ana.evaluate(() => sotto.call.microphone), true);
  await ben.click('#banner-action');
  await eventually('Ben speaks', () => ben.evaluate(() => sotto.call.microphone));
  assert.equal(await banner(ben), '');

  // Eva is removed, after a question that can be answered with no.
  const three = await code(ben);
  const remove = `${at('people')} button[aria-label="Remove Eva"]`;
  await ana.click(remove);
  await visible(ana, '#removing');
  assert.match(await words(ana, '#removing-text'), /keys are changed.*the call is locked/);
  await pictures(ana, 'remove');
  await ana.keyboard.press('Enter'); // the focus is on Cancel
  await ana.waitForSelector('#removing', { state: 'hidden' });
  assert.equal(await lit(ana), 3);
  await ana.click(remove);
  await ana.click(at('confirm-remove'));
  const clicked = Date.now();
  await Promise.all([
    ...[ana, ben].map(page => eventually('her picture is gone', () => page.evaluate(() => !document.querySelector('.tile[data-name="Eva"]')), 2_000)),
    eventually('she is told', async () => await words(eva, '#ended-title') === 'The host removed you from the call', 2_000),
  ]);
  t.diagnostic(`the removed one was out, and gone from the others' pages, after ${Date.now() - clicked} ms`);
  assert.equal(await eva.evaluate(() => sotto.call), null);
  await eventually('another code', async () => ![three, ''].includes(await code(ben)) && await code(ben) === await code(ana));
  for (const page of [ana, ben]) assert.match(await words(page, '#code-change'), /^New code, because Eva was removed by the host\.$/);
  assert.match(await words(ben, '#log'), /Eva was removed by the host/);
  await eventually('the receipt', () => eva.isVisible(at('receipt')));
  assert.match(await words(eva, at('receipt')), /What will be stored/);
  await pictures(eva, 'removed', { full: true });
  // The same link leads her to the door again, not in.
  await ask(eva, link, 'Eva');
  await visible(eva, at('waiting'));
  assert.deepEqual(complaints, []);
});

test('who leaves is told what was stored, which is what the store holds; what was written is gone', async () => {
  const [ana, ben] = await Promise.all([open(chromium), open(chromium)]);
  const before = relay.tables().call_log.length;
  await enter(ben, await start(ana, 'Ana'), 'Ben');
  await allLit([ana, ben]);
  await ana.keyboard.press('c');
  await ana.fill(at('chat-input'), 'under my breath');
  await ana.keyboard.press('Enter');
  await eventually('the message', async () => /under my breath/.test(await words(ben, '#messages')));
  assert.match(await words(ana, '#chat-promise'), /Gone .* when the call ends/);
  assert.equal(await ana.isVisible('#chat-promise'), true);
  for (const page of [ana, ben]) await page.evaluate(() => (window.left = sotto.call));

  await ben.click(at('leave'));
  await visible(ben, at('receipt'));
  assert.match(await words(ben, '#receipt-title'), /will be stored/);
  assert.equal(relay.tables().call_log.length, before, 'nothing is stored while the call goes on');
  await eventually('Ben is gone', async () => await lit(ana) === 1);
  await ana.keyboard.press('Escape');
  await ana.click(at('leave'));
  await visible(ana, at('receipt'));
  assert.match(await words(ana, '#receipt-title'), /was stored/);
  const row = await eventually('the row', () => relay.tables().call_log[before]);
  const told = await words(ana, at('receipt'));
  const day = new Date(`${row.ended_day}T00:00Z`).toLocaleDateString('en', { dateStyle: 'long', timeZone: 'UTC' });
  assert.ok(told.includes(day), told);
  assert.ok(told.includes(`Most people at once${row.peak_participants}`), told);
  const gone = await ana.evaluate(at => new Date(at * 1000).toLocaleString('en', { dateStyle: 'long', timeStyle: 'short', hourCycle: 'h23' }), row.expires_at);
  assert.ok(told.includes(gone), `${told} does not say ${gone}`);
  assert.equal(await ana.getAttribute(`${at('receipt')} a`, 'href'), '/transparency');
  await pictures(ana, 'ended-receipt', { full: true });
  for (const page of [ana, ben]) {
    assert.ok(!(await page.content()).includes('under my breath'));
    assert.equal(await page.evaluate(() => window.left.messages.length), 0);
  }

  await relay.stop();
  relay = await Relay.start({ SOTTO_TUNNEL: 'on', SOTTO_RETENTION_DAYS: '0' });
  const eva = await open(chromium);
  await start(eva, 'Eva');
  await eva.click(at('leave'));
  await visible(eva, at('receipt'));
  assert.match(await words(eva, at('receipt')), /Nothing was stored/);
});
