// The call page as people drive it: start a call, come in by its link, and be told what on it is hard to see.
import { eventually } from './browsers.js';
import { HTTP } from './relay.js';

export const OUT = new URL('../out/', import.meta.url).pathname;
export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

/** What of the page a test means. */
export const at = name => `[data-test="${name}"]`;

/** A page of its own browser context, at the start page. */
export async function open(browser, options = {}) {
  const page = await browser.newContext({ viewport: DESKTOP, ...options }).then(context => context.newPage());
  await page.goto(HTTP);
  return page;
}

/** Starts a call and is in it; returns its invite link. */
export async function start(page, name) {
  await page.click(at('create'));
  await page.fill(at('name'), name);
  await eventually('the preview', () => page.evaluate(() => document.querySelector('#preview').videoWidth > 0));
  await page.click(at('join'));
  await connected(page);
  return page.inputValue(at('invite'));
}

/** Opens a link and asks to join, whatever comes of it. */
export async function ask(page, link, name) {
  await page.goto('about:blank');
  await page.goto(link);
  await page.fill(at('name'), name);
  await page.click(at('join'));
}

/** Comes in by a link. */
export async function enter(page, link, name) {
  await ask(page, link, name);
  await connected(page);
}

export const connected = page => page.waitForSelector(`${at('state')}[data-state="connected"]`);

/** How many pictures are shown. */
export const lit = page => page.evaluate(() => document.querySelectorAll('.tile[data-lit]').length);

/** Waits until each of the pages shows a picture of everybody; says what each shows if one does not. */
export async function allLit(pages) {
  const whole = async page => await lit(page) === pages.length;
  try {
    await Promise.all(pages.map(page => eventually(`${pages.length} pictures`, () => whole(page), 30_000)));
  } catch (error) {
    const shown = await Promise.all(pages.map(page => page.evaluate(() => ({
      state: sotto.call?.state, path: sotto.call?.path, tiles: [...document.querySelectorAll('.tile')]
        .map(({ dataset: { name, lit } }) => `${name}${lit === undefined ? ' without a picture' : ''}`),
    }))));
    throw new Error(`${error.message}\n${JSON.stringify(shown)}`);
  }
}

/** What the banner says; nothing while there is none. */
export const banner = page => page.evaluate(() => (document.querySelector('#banner').hidden ? '' : document.querySelector('#banner span').textContent));

/** The text of an element, shown or not. */
export const words = (page, selector) => page.evaluate(selector => document.querySelector(selector).textContent, selector);

/** Shuts the pages, their browser contexts too. */
export const shut = pages => Promise.all(pages.map(page => page.context().close()));

/** Pictures of the page, wide and narrow, light and dark; throws where something is too wide or hard to read. */
export async function pictures(page, name, { full = false } = {}) {
  for (const viewport of [DESKTOP, PHONE]) {
    for (const colorScheme of ['light', 'dark']) {
      const what = `${name}-${viewport.width}x${viewport.height}-${colorScheme}`;
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(400); // tiles are told their new places
      await page.evaluate(() => Promise.all(document.getAnimations()
        .filter(each => each.effect.getComputedTiming().endTime !== Infinity).map(each => each.finished.catch(() => {}))));
      await page.screenshot({ path: `${OUT}${what}.png`, fullPage: full });
      const wrong = await page.evaluate(faults);
      if (wrong.length > 0) throw new Error(`${what}: ${wrong.join('; ')}`);
    }
  }
  await page.setViewportSize(DESKTOP);
  await page.emulateMedia({ colorScheme: 'light' });
}

/**
 * Runs in the page: what is wider than the window, and text whose contrast WCAG 2.2 (1.4.3, AA) finds too low. What
 * stands over a picture is left out, for its background is not known.
 */
function faults() {
  const found = [];
  const over = document.documentElement.scrollWidth - innerWidth;
  if (over > 0) found.push(`${over} px too wide`);
  const colour = text => {
    const [red, green, blue, alpha = 1] = text.match(/[\d.]+/g).map(Number);
    return { red, green, blue, alpha };
  };
  const blend = (front, back) => {
    const mix = part => front[part] * front.alpha + back[part] * (1 - front.alpha);
    return { red: mix('red'), green: mix('green'), blue: mix('blue'), alpha: 1 };
  };
  const luminance = ({ red, green, blue }) => {
    const linear = value => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  };
  const behind = element => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) layers.push(colour(getComputedStyle(each).backgroundColor));
    return layers.reverse().reduce((back, layer) => blend(layer, back), { red: 255, green: 255, blue: 255, alpha: 1 });
  };
  const dialog = document.querySelector('dialog[open]');
  for (const element of (dialog ?? document.body).querySelectorAll('*')) {
    const own = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== '');
    const seen = element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    if (!own || !seen || element.closest('.tile, .preview, .unseen, svg, option, noscript, :disabled')) continue;
    const style = getComputedStyle(element);
    const back = behind(element);
    const [a, b] = [luminance(blend(colour(style.color), back)), luminance(back)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`"${element.textContent.trim().slice(0, 30)}" has a contrast of ${ratio.toFixed(2)}`);
    if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0 && style.overflow === 'visible' && style.display !== 'inline') {
      found.push(`"${element.textContent.trim().slice(0, 30)}" does not fit`);
    }
  }
  return found;
}
