// The load tester's report pages, made from made-up runs, opened from the disk in Chromium: wide, narrow, light, dark, printed.
// Leaves pictures in out/ to be looked at.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import test, { after, before } from 'node:test';
import { startChromium } from './harness/browsers.js';

const OUT = new URL('./out/', import.meta.url).pathname;
const PAGES = `${OUT}report/`;
const MAKER = `${dirname(process.env.SOTTO_BIN)}/examples/report_pages`;
const VIEWS = [
  { width: 1280, scheme: 'light' }, { width: 1280, scheme: 'dark' },
  { width: 390, scheme: 'light' }, { width: 390, scheme: 'dark' },
];
const SHOT = ['good', 'outage', 'compared'];

let chromium;
before(async () => {
  assert.ok(existsSync(MAKER), `${MAKER} is missing; cargo build -p sotto-loadtest --example report_pages makes it`);
  execFileSync(MAKER, [PAGES]);
  chromium = await startChromium();
});
after(() => chromium?.close());

const at = name => `file://${PAGES}${name}.html`;

/** Opens a page from the disk and collects what it complains about and asks for. */
async function open(name, { width = 1280, scheme = 'light' } = {}) {
  const context = await chromium.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
  const page = await context.newPage();
  const complaints = [];
  page.on('console', message => complaints.push(message.text()));
  page.on('pageerror', error => complaints.push(String(error)));
  page.on('request', request => {
    if (!request.url().startsWith('data:') && !request.isNavigationRequest()) complaints.push(`asks for ${request.url()}`);
  });
  await page.goto(at(name));
  return { page, complaints, close: () => context.close() };
}

test('no page complains, asks for anything or scrolls sideways, at any width and in any light', async () => {
  const names = readdirSync(PAGES).filter(file => file.endsWith('.html')).map(file => file.slice(0, -5));
  assert.ok(names.length > 9, names.join(' '));
  for (const view of VIEWS) {
    const { page, complaints, close } = await open(names[0], view);
    for (const name of names) {
      const what = `${name} at ${view.width}, ${view.scheme}`;
      await page.goto(at(name));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.deepEqual(complaints, [], what);
      assert.ok(wide <= view.width, `${what}: ${wide} px wide`);
      if (SHOT.includes(name)) await page.screenshot({ path: `${OUT}report-${name}-${view.width}-${view.scheme}.png`, fullPage: true });
    }
    await close();
  }
});

test('every plot has marks inside its field, and a description', async () => {
  for (const name of ['good', 'lossy', 'outage', 'killed', 'overloaded', 'ramp', 'webinar', 'soak', 'compared']) {
    const { page, close } = await open(name);
    const plots = await page.evaluate(() => [...document.querySelectorAll('.plot')].map(plot => ({
      title: plot.closest('figure').querySelector('h3').textContent,
      label: plot.getAttribute('aria-label'),
      marks: [...plot.querySelectorAll('path.line, path.bars')].filter(mark => {
        const [inner, outer] = [mark.getBoundingClientRect(), plot.querySelector('svg').getBoundingClientRect()];
        const inside = inner.left > outer.left - 2 && inner.right < outer.right + 2 && inner.top > outer.top - 2 && inner.bottom < outer.bottom + 2;
        return inside && inner.width > 0;
      }).length,
      ticks: plot.querySelectorAll('.up span').length,
    })));
    assert.ok(plots.length >= 6, `${name}: ${plots.length} plots`);
    for (const { title, label, marks, ticks } of plots) {
      assert.ok(marks > 0, `${name}: nothing in ${title}`);
      assert.ok(ticks > 1, `${name}: no scale at ${title}`);
      assert.ok(label.length > 20, `${name}: ${title} has no description`);
    }
    await close();
  }
});

test('an outage is shaded and a lost relay is marked where they were', async () => {
  const outage = await open('outage');
  const shade = await outage.page.evaluate(() => {
    const rect = document.querySelector('#frozen rect.shade').getBoundingClientRect();
    const field = document.querySelector('#frozen .field').getBoundingClientRect();
    return [(rect.left - field.left) / field.width * 30, (rect.right - field.left) / field.width * 30];
  });
  assert.ok(Math.abs(shade[0] - 12) < 0.2 && Math.abs(shade[1] - 15) < 0.2, String(shade));
  await outage.close();
  const killed = await open('killed');
  assert.equal(await killed.page.textContent('#latency .mark'), 'relay lost');
  await killed.close();
});

test('words are readable on what is behind them, light and dark', async () => {
  for (const scheme of ['light', 'dark']) {
    for (const name of ['good', 'outage', 'overloaded', 'webinar', 'compared']) {
      const { page, close } = await open(name, { scheme });
      const poor = await page.evaluate(() => {
        const luminance = ([r, g, b]) => [r, g, b].map(part => part / 255)
          .map(part => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
          .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
        const parts = color => color.match(/[\d.]+/g).map(Number);
        const behind = element => {
          for (let at = element; at; at = at.parentElement) {
            const color = parts(getComputedStyle(at).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
          }
          return [255, 255, 255];
        };
        const found = new Set();
        for (const element of document.body.querySelectorAll('*:not(script, svg, svg *)')) {
          const words = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
          if (!words || element.hidden || !element.getClientRects().length) continue;
          const [a, b] = [luminance(parts(getComputedStyle(element).color)), luminance(behind(element))];
          const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          if (ratio < 4.5) found.add(`${element.tagName}.${element.className}: ${ratio.toFixed(2)}`);
        }
        // lines and bars: 3 to 1, as WCAG 2.2 asks of graphics
        for (const mark of document.querySelectorAll('path.line, .bars')) {
          const style = getComputedStyle(mark);
          const color = parts(mark.matches('.bars') ? style.fill : style.stroke);
          const [a, b] = [luminance(color), luminance(behind(mark.closest('figure')))];
          const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          if (ratio < 3) found.add(`${mark.getAttribute('class')}: ${ratio.toFixed(2)}`);
        }
        return [...found];
      });
      assert.deepEqual(poor, [], `${name}, ${scheme}`);
      await close();
    }
  }
});

test('tables sort by their headings from the keyboard, and show all rows when asked', async () => {
  const { page, close } = await open('outage');
  const column = () => page.evaluate(() => [...document.querySelectorAll('table.sortable')[1].tBodies[0].rows]
    .map(row => Number(row.cells[4].dataset.v)));
  const shown = () => page.locator('table.sortable >> nth=1').locator('tbody tr:visible').count();
  assert.equal(await shown(), 10);
  await page.locator('table.sortable >> nth=1').locator('thead button').nth(4).focus();
  await page.keyboard.press('Enter');
  const down = await column();
  assert.deepEqual(down, [...down].sort((a, b) => b - a));
  await page.keyboard.press('Enter');
  assert.deepEqual(await column(), down.reverse());
  assert.equal(await page.locator('[aria-sort=ascending]').count(), 1);
  await page.getByText('Show all 24').click();
  assert.equal(await shown(), 24);
  await close();
});

test('the arrow keys and the pointer read all plots over time at one time', async () => {
  const { page, close } = await open('outage');
  await page.focus('#latency .plot');
  for (let step = 0; step < 5; step++) await page.keyboard.press('ArrowRight');
  assert.match(await page.textContent('#latency output'), /^5 s: p50 [\d.]+ ms, p95 [\d.]+ ms, p99 [\d.]+ ms$/);
  assert.match(await page.textContent('#bitrate output'), /^5 s: received [\d.]+ Mbit\/s$/);
  await page.hover('#cpu .field'); // in its middle
  assert.match(await page.textContent('#frozen output'), /^15 s: frozen 5,200 ms$/);
  await close();
});

test('without scripts everything is there', async () => {
  const context = await chromium.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`file://${PAGES}outage.html`);
  assert.equal(await page.locator('table.sortable >> nth=1').locator('tbody tr').count(), 24);
  assert.ok(await page.locator('path.line').count() > 5);
  await context.close();
});

test('headings, captions and table headers are there for those who do not see', async () => {
  const { page, close } = await open('outage');
  const faults = await page.evaluate(() => [
    ...[...document.querySelectorAll('figure:not(.copy)')].filter(figure => !figure.querySelector('figcaption h3')).map(figure => figure.id),
    ...[...document.querySelectorAll('table')].filter(table => !table.querySelector('thead th[scope=col]')).map(table => table.className),
    ...[...document.querySelectorAll('svg')].filter(svg => svg.getAttribute('aria-hidden') !== 'true').map(() => 'svg'),
    ...(document.querySelectorAll('h1').length === 1 ? [] : ['h1']),
    ...(document.documentElement.lang === 'en' ? [] : ['lang']),
  ]);
  assert.deepEqual(faults, []);
  await close();
});

test('it prints on paper colours, even from a dark screen', async () => {
  const { page, close } = await open('killed', { scheme: 'dark' });
  await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
  const ink = await page.evaluate(() => getComputedStyle(document.body).color);
  assert.equal(ink, 'rgb(27, 33, 30)');
  await page.pdf({ path: `${OUT}report-killed.pdf`, format: 'A4' });
  await close();
});
