// Which way the call takes, in words on the page, and the setting that keeps to forwarding. Leaves pictures in out/.
import assert from 'node:assert/strict';
import test, { after, afterEach, before } from 'node:test';
import { eventually, startChromium } from './harness/browsers.js';
import { allLit, at, enter, open, pictures, start, words } from './harness/pages.js';
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

const path = page => page.evaluate(at => document.querySelector(at).dataset.path ?? '', at('path'));

test('the page says in words which way a call takes, and the tunnel can be turned off for good', async () => {
  const [ana, ben, eva] = await Promise.all([open(chromium), open(chromium), open(chromium)]);
  const link = await start(ana, 'Ana');
  assert.equal(await ana.isVisible(at('path')), false, 'nothing is claimed of a path to nobody');
  await enter(ben, link, 'Ben');
  await allLit([ana, ben]);
  for (const page of [ana, ben]) {
    await eventually('the tunnel', async () => await path(page) === 'tunnel', 20_000);
    assert.equal(await page.evaluate(() => sotto.call.path), 'tunnel');
    assert.match(await words(page, at('path')), /^Sealed between you two$/);
  }
  await pictures(ana, 'call-tunnel');
  await ana.click('#open-security');
  assert.match(await words(ana, at('path-words')), /Sealed from your browser to theirs/);
  await pictures(ana, 'path-tunnel');
  await ana.keyboard.press('Escape');

  await enter(eva, link, 'Eva');
  await allLit([ana, ben, eva]);
  for (const page of [ana, ben, eva]) {
    await eventually('forwarding', async () => await path(page) === 'forwarded');
    assert.match(await words(page, at('path')), /^Forwarded by the server$/);
  }
  await pictures(ana, 'call-forwarded');
  await ana.click('#open-security');
  assert.match(await words(ana, at('path-words')), /end to end, forwarded by the server/);
  await pictures(ana, 'path-forwarded');
  await eva.click(at('leave'));
  await eventually('the tunnel again', async () => await path(ana) === 'tunnel' && await path(ben) === 'tunnel', 30_000);
  await allLit([ana, ben]);

  // Ben turns it off, reloads, and it stays off; turned on again, nothing is left of the choice.
  await ben.click(at('leave'));
  await ben.goto('about:blank');
  await ben.goto(link);
  await ben.click('summary');
  await ben.uncheck(at('tunnel'));
  await enter(ben, link, 'Ben');
  await allLit([ana, ben]);
  assert.equal(await ben.isChecked(at('tunnel')), false, 'the choice outlives the page');
  await new Promise(resolve => setTimeout(resolve, 3_000)); // in which a tunnel would have come up
  for (const page of [ana, ben]) assert.equal(await path(page), 'forwarded');
  assert.match(await words(ben, '#path-text'), /You turned off the sealed tunnel/);
  assert.equal(await ben.evaluate(() => localStorage.length), 1);
  await ben.evaluate(at => document.querySelectorAll('[data-setting="tunnel"]')[1].click(), at('tunnel'));
  assert.equal(await ben.evaluate(() => localStorage.length), 0);
});
