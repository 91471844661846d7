// Chromium through Playwright and Firefox through WebDriver BiDi, each page a participant with one way to be driven.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';
import { HTTP } from './relay.js';

const PEER = readFileSync(new URL('./peer.js', import.meta.url), 'utf8');

/** Every Chromium started with fake devices and no wish to talk to anyone but the relay. */
export function startChromium({ executablePath = '/usr/bin/chromium', args = [] } = {}) {
  return chromium.launch({
    executablePath,
    args: [
      ...args,
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream=fps=30', '--autoplay-policy=no-user-gesture-required',
    ],
  });
}

export function startFirefox() {
  return puppeteer.launch({
    browser: 'firefox',
    executablePath: '/usr/bin/firefox-esr',
    headless: true,
    env: { ...process.env, PULSE_SERVER: process.env.SOTTO_TEST_PULSE }, // Chromium does better with its own null device
    extraPrefsFirefox: {
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      'media.autoplay.default': 0,
      'media.autoplay.blocking_policy': 0,
      'privacy.reduceTimerPrecision': false,
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
    },
  });
}

/** A page at the relay's origin that runs peer.js: the SDK without the call page around it. */
export class Peer {
  /** `origin` is another one only where a test serves altered modules. */
  static async open(browser, origin = HTTP) {
    const peer = new Peer();
    // one participant per Firefox: a page of a further context there may still be in a process that runs no scripts
    const context = await browser.newContext?.();
    peer.page = await (context ?? browser).newPage();
    peer.close = () => (context ?? peer.page).close();
    // the landing page, which does nothing until it is clicked
    await peer.page.goto(origin);
    await peer.page.evaluate(PEER);
    return peer;
  }

  /** Calls a function of peer.js in the page. */
  run(name, ...args) {
    return this.page.evaluate(([name, args]) => window.peer[name](...args), [name, args]);
  }

  /** Joins with a tone and a colour of its own, so that others can tell by the media who sends it. */
  async join(link, name, media = {}) {
    Object.assign(this, { name, ...media });
    Object.assign(this, await this.run('join', link, name, media));
    return this;
  }
}

/** Waits until `look` answers with something true, and returns it. */
export async function eventually(what, look, milliseconds = 10_000) {
  const until = Date.now() + milliseconds;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > until) throw new Error(`not within ${milliseconds} ms: ${what}`);
    await sleep(50);
  }
}

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

export const median = values => percentile(values, 0.5);

/** Whether a presented colour is the one of red, green and blue that a camera shows; early frames are coarse. */
export function isColour(rgb, colour) {
  const strongest = [1, 3, 5].findIndex(at => colour.slice(at, at + 2) !== '00');
  return rgb[strongest] > 100 && rgb.every((value, n) => n === strongest || value < rgb[strongest] / 2);
}

/** Waits until all peers show the same verification code, which takes a browser half a second to compute. */
export function sameCode(peers) {
  return eventually('one verification code on all sides', async () => {
    const codes = await Promise.all(peers.map(peer => peer.run('code')));
    return /^\d{5}( \d{5}){5}$/.test(codes[0]) && codes.every(code => code === codes[0]) && codes[0];
  });
}

/** Waits until every peer shows every other one's picture. */
export function allSee(peers, milliseconds = 15_000) {
  return Promise.all(peers.map(peer => eventually(`${peer.name} sees all others`, async () => {
    const shown = (await peer.run('remotes')).filter(remote => remote.source === 'camera' && remote.presented > 0);
    return peers.every(other => other === peer || shown.some(remote => remote.participant === other.id));
  }, milliseconds).catch(async error => {
    const told = JSON.stringify(await peer.run('log').catch(() => null));
    throw new Error(`${error.message}\nremotes: ${JSON.stringify(await peer.run('remotes'))}\nevents: ${told}`);
  })));
}
