// The page itself, as people use it: start a call, come in by the link, look at each other, write, compare codes, leave.
// Leaves pictures in out/ to be looked at.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { chromium as playwright } from 'playwright-core';
import { eventually, startChromium, startFirefox } from './harness/browsers.js';
import { at, banner, connected, DESKTOP, enter, lit, open, OUT, PHONE, shut, start } from './harness/pages.js';
import { HTTP, Relay } from './harness/relay.js';

let relay, chromium, firefox;
before(async () => {
  [relay, chromium, firefox] = await Promise.all([Relay.start(), startChromium(), startFirefox()]);
});
after(async () => {
  await Promise.allSettled([chromium?.close(), firefox?.close()]);
  await relay?.stop();
});

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

test('leaving turns the camera and the microphone off', async () => {
  const ana = await open(chromium);
  await start(ana, 'Ana');
  await ana.evaluate(() => (window.sent = ['microphone', 'camera'].map(source => sotto.call.localTrack(source))));
  assert.deepEqual(await ana.evaluate(() => sent.map(track => track.readyState)), ['live', 'live']);
  await ana.click(at('leave'));
  assert.deepEqual(await ana.evaluate(() => sent.map(track => track.readyState)), ['ended', 'ended']);
  assert.match(await ana.title(), /You left/);
  await shut([ana]);
});

test('the keyboard alone is enough, and every control says what it is', async () => {
  const ana = await open(chromium, { reducedMotion: 'reduce' });
  /** What a screen reader would stumble over. */
  const faults = () => ana.evaluate(() => {
    const seen = element => element.checkVisibility({ visibilityProperty: true });
    const named = element => element.getAttribute('aria-label') || element.labels?.length || element.textContent.trim();
    const controls = [...document.querySelectorAll('button, a, input, select, textarea, summary')].filter(seen);
    const unnamed = controls.filter(element => !named(element)).map(element => element.outerHTML.slice(0, 90));
    const levels = [...document.querySelectorAll('h1, h2, h3')].filter(seen).map(({ tagName }) => Number(tagName[1]));
    const leaps = levels.filter((level, n) => level > (levels[n - 1] ?? 0) + 1).map(level => `a leap to h${level}`);
    const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
    const twice = ids.filter((id, n) => ids.indexOf(id) !== n);
    const missing = [...document.querySelectorAll('use')].map(use => use.getAttribute('href'))
      .filter(href => !document.querySelector(href));
    const tops = levels.filter(level => level === 1).length;
    return [...unnamed, ...leaps, ...twice, ...missing, ...(tops === 1 ? [] : [`${tops} h1`])];
  });
  const focused = () => ana.evaluate(() => {
    const { activeElement: active, body } = document;
    return active === body ? '' : active.id || active.textContent.trim();
  });
  const ringed = () => ana.evaluate(() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
  });

  assert.equal(await ana.evaluate(() => document.documentElement.lang), 'en');
  assert.deepEqual(await faults(), []);
  await ana.keyboard.press('Tab');
  assert.equal(await focused(), 'create');
  assert.ok(await ringed());
  await ana.keyboard.press('Enter');
  await eventually('the name is asked for', async () => await focused() === 'name');
  assert.deepEqual(await faults(), []);
  await ana.keyboard.type('Ana');
  await ana.keyboard.press('Enter');
  await connected(ana);
  assert.match(await ana.title(), /In a call/);
  assert.deepEqual(await faults(), []);

  const stops = [];
  for (let n = 0; n < 12; n += 1) {
    await ana.keyboard.press('Tab');
    if (await focused() === '') break; // around
    assert.ok(await ringed(), `no ring on ${await focused()}`);
    stops.push(await focused());
  }
  for (const id of ['open-security', 'microphone', 'camera', 'share', 'leave', 'open-chat']) assert.ok(stops.includes(id), `${stops}`);

  await ana.focus('#open-security');
  await ana.keyboard.press('Enter');
  assert.equal(await focused(), 'panel-title');
  assert.deepEqual(await faults(), []);
  await ana.keyboard.press('Escape');
  assert.equal(await focused(), 'open-security', 'Escape closes the panel and gives the focus back');
  await ana.keyboard.press('p');
  assert.equal(await focused(), 'panel-title');
  assert.deepEqual(await faults(), []);
  await ana.keyboard.press('c');
  assert.equal(await focused(), 'chat-input');
  await ana.keyboard.press('Escape');
  assert.equal(await focused(), 'open-chat');
  await ana.keyboard.press('Shift+?');
  const listed = await ana.evaluate(() => [...document.querySelectorAll('#help dd')].map(keys => keys.textContent.trim()));
  assert.deepEqual(listed, ['M', 'V', 'S', 'C', 'P', 'E', 'Esc', 'Shift L', '?']);
  await ana.keyboard.press('m');
  await ana.keyboard.press('Escape');
  assert.equal(await ana.evaluate(() => sotto.call.microphone), true, 'keys do nothing behind a dialog');
  await ana.keyboard.press('m');
  await eventually('muted', () => ana.evaluate(() => !sotto.call.microphone));
  const slow = await ana.evaluate(() => [...document.querySelectorAll('.tile, button')].filter(each => parseFloat(getComputedStyle(each).transitionDuration) > 0.01).length);
  assert.equal(slow, 0, 'nothing moves for those who asked for less motion');
  await ana.keyboard.press('Shift+L');
  assert.equal(await focused(), 'ended-title');
  assert.deepEqual(await faults(), []);
  await shut([ana]);
});

test('sound that the browser holds back is offered with a button', async () => {
  const strict = await playwright.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--autoplay-policy=document-user-activation-required'],
  });
  try {
    const ana = await open(chromium);
    const link = await start(ana, 'Ana');
    // Ben has no camera, whose permission would count as consent, and never clicked. Playwright's own evaluation counts
    // as a click, so that he is looked at by other means.
    const ben = await strict.newPage();
    const devtools = await ben.context().newCDPSession(ben);
    const look = async expression => (await devtools.send('Runtime.evaluate', { expression, returnByValue: true })).result.value;
    const playing = "[...document.querySelectorAll('audio')].some(audio => audio.srcObject && !audio.paused)";
    await devtools.send('Page.navigate', { url: link.replace('#', '?name=Ben&autojoin=1#') });
    await eventually('the offer', () => look("/holds the sound back/.test(document.querySelector('#banner:not([hidden])')?.textContent)"), 20_000);
    assert.equal(await look(playing), false);
    await ben.click('#banner-action');
    await eventually('sound', () => look(playing));
    await eventually('no more offer', async () => await banner(ben) === '');
    await shut([ana]);
  } finally {
    await strict.close();
  }
});

test('what changes around a call is shown, survived or explained', async () => {
  const [ana, ben] = await Promise.all([open(chromium), open(chromium)]);
  const link = await start(ana, 'Ana');
  await enter(ben, link, 'Ben');
  for (const page of [ana, ben]) await eventually('both pictures', async () => await lit(page) === 2, 20_000);

  await ben.click(at('microphone'));
  await eventually("Ben's tile at Ana's says muted", () => ana.evaluate(() => document.querySelector('.tile[data-name="Ben"] .tile-muted:not([hidden])') !== null));
  const code = await ana.evaluate(() => sotto.call.verificationCode);

  // The network changed: new ICE credentials, and the pictures go on.
  const credentials = () => ana.evaluate(async () => {
    const stats = [...(await sotto.call.getStats()).values()];
    return stats.find(({ type }) => type === 'transport').iceLocalUsernameFragment;
  });
  const presented = page => page.evaluate(() => document.querySelector('.tile:not([data-self]) video').getVideoPlaybackQuality().totalVideoFrames);
  const before = await credentials();
  await ana.evaluate(() => dispatchEvent(new Event('online')));
  await eventually('new credentials', async () => await credentials() !== before);
  for (const page of [ana, ben]) {
    const seen = await presented(page);
    await eventually('pictures after the restart', async () => await presented(page) > seen + 10);
  }
  assert.equal(await ana.evaluate(() => sotto.call.state), 'connected');

  // Devices are pulled out: the camera stays off, another microphone takes over, as silent as the one before.
  await ben.evaluate(() => sotto.call.localTrack('camera').dispatchEvent(new Event('ended')));
  await eventually('it is said', async () => /camera was disconnected/.test(await banner(ben)));
  await eventually('one picture is gone', async () => await lit(ana) === 1);
  await ben.evaluate(() => sotto.call.localTrack('microphone').dispatchEvent(new Event('ended')));
  await eventually('it is said', async () => /another one is used/.test(await banner(ben)));
  assert.equal(await ben.evaluate(() => sotto.call.microphone), false);
  await ben.click(at('camera'));
  await eventually('the camera is back', async () => await lit(ana) === 2);

  // Another link in the same tab does not throw anybody out.
  await ana.evaluate(() => (location.hash = 'A'.repeat(64)));
  await eventually('it is said', async () => /Leave it first/.test(await banner(ana)));
  assert.ok(!ana.url().includes('#'));

  // The same link in a second tab is a second seat, and changes the code for all.
  const twin = await ben.context().newPage();
  await enter(twin, link, 'Ben again');
  await eventually('three tiles', () => ana.evaluate(() => document.querySelectorAll('.tile').length === 3));
  await eventually('another code', async () => ![code, ''].includes(await ana.evaluate(() => sotto.call.verificationCode)));
  const notice = await ana.evaluate(() => document.querySelector('#code-change').textContent);
  assert.match(notice, /New code, because Ben again came/);

  // Whoever made the call closes the tab: the others stay.
  await ana.close();
  for (const page of [ben, twin]) await eventually('two are left', () => page.evaluate(() => document.querySelectorAll('.tile').length === 2));
  await shut([ben]);
});

test("a picture that comes by another way takes the old one's place without a blank between them, in both browsers", async () => {
  for (const browser of [chromium, firefox]) {
    const page = await browser.newPage();
    await page.goto(HTTP);
    const { waiting, swap, pictures, after } = await page.evaluate(async () => {
      const { Tile } = await import('/page/tile.js');
      const camera = colour => {
        const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
        const context = canvas.getContext('2d');
        const start = () => setInterval(() => {
          context.fillStyle = colour;
          context.fillRect(0, 0, 320, 180);
        }, 33);
        return { start, track: canvas.captureStream(30).getVideoTracks()[0] };
      };
      const tile = new Tile({ id: 'a', name: 'Ana', source: 'camera', self: false });
      document.body.append(tile.element);
      tile.place({ x: 0, y: 0, width: 320, height: 180 });
      const look = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
      /** The colour of what is on top: the last picture in the document, if the tile is lit at all. */
      const seen = () => {
        look.clearRect(0, 0, 1, 1);
        if ('lit' in tile.element.dataset) look.drawImage([...tile.element.querySelectorAll('video')].at(-1), 0, 0, 1, 1);
        const [red, , blue, there] = look.getImageData(0, 0, 1, 1).data;
        return there < 128 ? 'blank' : red > 128 ? 'red' : blue > 128 ? 'blue' : 'black';
      };
      const watch = async (frames, end) => {
        const samples = new Set();
        for (let n = 0; n < frames && !samples.has(end); n += 1) {
          await new Promise(requestAnimationFrame);
          samples.add(seen());
        }
        return [...samples];
      };
      const [red, blue] = [camera('#ff0000'), camera('#0000ff')];
      red.start();
      tile.showVideo(red.track);
      await watch(600, 'red');
      tile.showVideo(blue.track); // of which nothing has come yet
      const waiting = await watch(30);
      blue.start();
      const swap = await watch(600, 'blue');
      const pictures = tile.element.querySelectorAll('video').length;
      tile.showVideo(null);
      return { waiting, swap, pictures, after: seen() };
    });
    assert.deepEqual(waiting, ['red'], 'the old picture stays until there is a new one');
    assert.equal(swap.at(-1), 'blue');
    assert.deepEqual(swap.filter(colour => colour !== 'red' && colour !== 'blue'), []);
    assert.equal(pictures, 1, 'the old one is gone');
    assert.equal(after, 'blank');
    await page.close();
  }
});

test('a relay that goes away is waited for, with every icon in its place', async () => {
  const [ana, ben] = await Promise.all([open(chromium), open(chromium)]);
  await enter(ben, await start(ana, 'Ana'), 'Ben');
  await eventually('both pictures', async () => await lit(ana) === 2, 20_000);
  await relay.end('SIGKILL');
  await eventually('it is said', async () => /Reconnecting/.test(await banner(ana)));
  assert.match(await ana.title(), /Reconnecting/);
  await ana.click(at('microphone')); // asks nothing of the relay, nor does its icon
  assert.ok(await ana.evaluate(() => document.querySelector('#microphone use').getBoundingClientRect().width > 0));
  await relay.launch();
  await eventually('back', async () => await lit(ana) === 2 && await banner(ana) === '', 60_000);
  assert.match(await ana.title(), /In a call/);
  await shut([ana, ben]);
});

test('a browser that cannot encrypt is told so, before anything is asked of it', async () => {
  const context = await chromium.newContext({ viewport: PHONE });
  await context.addInitScript(() => delete globalThis.RTCRtpScriptTransform);
  const page = await context.newPage();
  await page.goto(`${HTTP}/c#${'A'.repeat(64)}`);
  await page.waitForSelector('#ended-title', { state: 'visible' });
  assert.match(await page.textContent('#ended-title'), /cannot encrypt/);
  assert.ok(!page.url().includes('#'));
  await page.goto(`${HTTP}/c`);
  assert.match(await page.textContent('#ended-title'), /link again/, 'a reload forgot the link, and says so');
  await context.close();
});
