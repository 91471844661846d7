// The page itself, as people use it: start a call, come in by the link, look at each other, write, compare codes, leave.
// Leaves pictures in out/ to be looked at.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { eventually, startChromium, startFirefox } from './harness/browsers.js';
import { HTTP, Relay } from './harness/relay.js';

const OUT = new URL('./out/', import.meta.url).pathname;
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

let relay, chromium, firefox;
before(async () => {
  [relay, chromium, firefox] = await Promise.all([Relay.start(), startChromium(), startFirefox()]);
});
after(async () => {
  await Promise.allSettled([chromium?.close(), firefox?.close()]);
  await relay?.stop();
});

const at = name => `[data-test="${name}"]`;
const lit = page => page.evaluate(() => document.querySelectorAll('.tile[data-lit]').length);

test('a call is started, joined by its link from two browsers, looked at, written in and left', async () => {
  const complaints = [];
  const ana = await chromium.newContext({ viewport: DESKTOP, colorScheme: 'light' }).then(context => context.newPage());
  const ben = await chromium.newContext({ viewport: PHONE, colorScheme: 'dark', deviceScaleFactor: 2 }).then(context => context.newPage());
  const cleo = await firefox.newPage();
  for (const [name, page] of Object.entries({ ana, ben, cleo })) {
    page.on('pageerror', error => complaints.push(`${name}: ${error}`));
    page.on('console', message => message.type() === 'error' && complaints.push(`${name}: ${message.text()}`));
  }

  await ana.goto(HTTP);
  await ana.screenshot({ path: `${OUT}landing-desktop-light.png` });
  await ana.click(at('create'));
  await ana.fill(at('name'), 'Ana');
  await eventually('the preview shows the camera', () => ana.evaluate(() => document.querySelector('#preview').videoWidth > 0));
  await ana.screenshot({ path: `${OUT}prejoin-desktop-light.png` });
  await ana.click(at('join'));
  await ana.waitForSelector(`${at('state')}[data-state="connected"]`);
  assert.ok(!ana.url().includes('#'), 'the secret is out of the address bar');
  const invite = await ana.inputValue(at('invite'));
  assert.match(invite, /\/c#[\w-]{64}$/);

  await ben.goto(invite);
  await ben.fill(at('name'), 'Ben');
  await ben.screenshot({ path: `${OUT}prejoin-phone-dark.png` });
  await ben.click(at('join'));
  await cleo.goto(invite);
  await cleo.waitForSelector(at('name'), { visible: true });
  await cleo.type(at('name'), 'Cleo');
  await cleo.click(at('join'));
  for (const page of [ana, ben, cleo]) await eventually('three pictures', async () => await lit(page) === 3, 20_000);

  await ana.keyboard.press('c');
  await ana.fill(at('chat-input'), 'Shall we begin?');
  await ana.keyboard.press('Enter');
  for (const page of [ben, cleo]) {
    await eventually('the message', () => page.evaluate(() => document.querySelector('#messages').textContent.includes('Shall we begin?')));
  }
  const codes = await Promise.all([ana, ben, cleo].map(page => page.evaluate(at => document.querySelector(at).textContent.replace(/\D/g, ''), at('code'))));
  assert.match(codes[0], /^\d{30}$/);
  assert.equal(new Set(codes).size, 1, `codes differ: ${codes}`);

  await ana.screenshot({ path: `${OUT}call-chat-desktop-light.png` });
  await ana.keyboard.press('Escape');
  await ana.keyboard.press('Escape');
  for (const [page, what] of [[ana, 'ana'], [ben, 'ben']]) {
    for (const [size, viewport] of [['1280x800', DESKTOP], ['390x844', PHONE]]) {
      for (const colorScheme of what === 'ana' ? ['light'] : ['dark']) {
        await page.setViewportSize(viewport);
        await page.emulateMedia({ colorScheme });
        await page.waitForTimeout(400); // tiles glide into place
        await page.screenshot({ path: `${OUT}call-${size}-${colorScheme}.png` });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${overflow} px too wide at ${size}`);
      }
    }
  }
  await ben.click(at('leave'));
  await ben.waitForSelector('#ended-title', { state: 'visible' });
  await eventually('two pictures are left', async () => await lit(ana) === 2);
  await cleo.evaluate(at => document.querySelector(at).click(), at('leave'));
  await eventually('one is left', async () => await lit(ana) === 1);
  await ana.click(at('leave'));
  await ana.waitForSelector('#ended-title', { state: 'visible' });
  await ana.screenshot({ path: `${OUT}ended-phone-light.png` });
  assert.deepEqual(complaints, []);
});
