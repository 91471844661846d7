// The statement of /transparency.json, put in order for a person. Nothing is said here that the server did not state.

import { el, text } from './view.js';

/**
 * @typedef {{what: string, why: string, until?: string}} Sight
 * @typedef {{name: string, on: boolean, when: string, sees: Sight[], cannot_see: Sight[]}} Mode
 * @typedef {{name: string, type: string, meaning: string | null, lifetime: string | null}} Column
 * @typedef {{path: string, sha256: string}} WebFile
 * @typedef {object} Statement
 * @property {string} version
 * @property {{executable_sha256: string | null, commit: string | null, test_probes: boolean,
 *   web: {sha256: string, files: WebFile[]}}} build
 * @property {string} summary
 * @property {number} retention_days
 * @property {number} most_retention_days
 * @property {number} erased_within_minutes
 * @property {{name: string, columns: Column[]}[]} tables
 * @property {number} rows
 * @property {number | null} oldest_row_age_days
 * @property {{rows_written: number, rows_purged: number, rows_waiting: number, rows_lost: number}} since_start
 * @property {{what: string, lifetime: string}[]} in_memory
 * @property {{ends: string, meaning: string}} tls
 * @property {Mode[]} modes
 * @property {Sight[]} never
 */

/** @type {Record<string, {title: string, who: string}>} */
const MODES = {
  tunnel: { title: 'The sealed tunnel', who: 'Two people' },
  forwarded: { title: 'Forwarding', who: 'Three and more' },
};

/**
 * What is the same in all modes, and what belongs to each alone.
 * @param {Sight[][]} lists One for each mode.
 * @returns {{both: Sight[], own: Sight[][]}}
 */
export function compare(lists) {
  const same = (/** @type {Sight} */ a, /** @type {Sight} */ b) => a.what === b.what && a.why === b.why && a.until === b.until;
  const everywhere = (/** @type {Sight} */ sight) => lists.every((list) => list.some((each) => same(each, sight)));
  const both = lists.length > 1 ? lists[0].filter(everywhere) : [];
  return { both, own: lists.map((list) => list.filter((sight) => !both.some((each) => same(each, sight)))) };
}

/** @param {number | null} days @returns {string} */
export function ageWords(days) {
  if (days === null) return 'none';
  if (days <= 0) return 'today';
  return days === 1 ? '1 day' : `${days} days`;
}

/** @param {string} path Of a file of the client. @returns {string} Where the server serves it. */
export function addressOf(path) {
  if (path === 'index.html') return '/';
  return path === 'transparency.html' ? '/transparency' : `/${path}`;
}

/**
 * @param {string} tag
 * @param {...(Node | string)} inside
 * @returns {HTMLElement}
 */
function make(tag, ...inside) {
  const element = document.createElement(tag);
  element.append(...inside);
  return element;
}

/**
 * @param {string} name
 * @param {...(Node | string)} value
 */
function pair(name, ...value) {
  return make('div', text('dt', name), make('dd', ...value));
}

/** @param {Statement} statement */
function drawKept(statement) {
  const { rows, oldest_row_age_days: age, since_start: since, retention_days: days } = statement;
  const counts = [
    pair('rows now', String(rows)),
    pair('age of the oldest row', ageWords(age)),
    pair('rows written since start', String(since.rows_written)),
    pair('rows erased since start', String(since.rows_purged)),
    pair('a row is kept for', days === 0 ? 'never written' : ageWords(days)),
  ];
  el('counts').replaceChildren(...counts);
  el('tables').replaceChildren(...statement.tables.map(({ name, columns }) => {
    const head = make('tr', ...['Field', 'What it is', 'Until when'].map((title) => scoped('col', title)));
    const lines = columns.map((column) => make('tr', scoped('row', text('code', column.name)),
      told(column.meaning, 'nobody explained this field: a defect'), told(column.lifetime, 'not stated: a defect')));
    const caption = make('caption', 'Each stored field of a row of ', text('code', name), ', as the store has them');
    return make('table', caption, make('thead', head), make('tbody', ...lines));
  }));
  const trouble = since.rows_waiting + since.rows_lost > 0
    ? ` Since start the store could not be written at times: ${since.rows_waiting} rows wait, ${since.rows_lost} were lost.`
    : '';
  el('kept-note').textContent = days === 0
    ? `This server is set to keep nothing. It could be set to ${statement.most_retention_days} days at most.${trouble}`
    : `No setting adds a field. The time can be set from 0, which keeps nothing, to ${statement.most_retention_days} ` +
      `days; a row is erased at most ${statement.erased_within_minutes} minutes after its time.${trouble}`;
}

/**
 * @param {'col' | 'row'} scope
 * @param {Node | string} inside
 */
function scoped(scope, inside) {
  const cell = make('th', inside);
  cell.setAttribute('scope', scope);
  return cell;
}

/**
 * @param {string | null} words
 * @param {string} without
 */
function told(words, without) {
  return words ? text('td', words) : text('td', without, 'bad');
}

/** @param {Statement} statement */
function drawModes({ modes, tls }) {
  const sees = compare(modes.map((mode) => mode.sees));
  const unseen = compare(modes.map((mode) => mode.cannot_see));
  el('modes').replaceChildren(...modes.map((mode, index) => {
    const { title, who } = MODES[mode.name] ?? { title: mode.name, who: '' };
    const when = mode.on ? `When ${mode.when}` : sentence(mode.when);
    const card = make('article', make('header', text('small', who), text('strong', title), text('small', when)));
    card.className = 'mode';
    card.toggleAttribute('data-off', !mode.on);
    card.append(side('sees', 'It sees', sees.own[index]), side('blind', 'It cannot see', unseen.own[index]));
    return card;
  }));
  el('both').replaceChildren(text('h3', 'Either way'), side('sees', 'It sees', sees.both),
    side('blind', 'It cannot see', unseen.both));
  el('tls').textContent = sentence(tls.meaning);
}

/**
 * @param {'sees' | 'blind'} kind
 * @param {string} title
 * @param {Sight[]} sights
 */
function side(kind, title, sights) {
  const list = make('ul', ...sights.map(({ what, why, until }) =>
    make('li', what, text('small', until ? `${why}; until ${until}` : why))));
  const box = make('div', text('h4', title), list);
  box.className = `side ${kind}`;
  return box;
}

/** @param {string} words */
function sentence(words) {
  const [first = ''] = words;
  return `${first.toUpperCase()}${words.slice(first.length)}${/[.!?]$/.test(words) ? '' : '.'}`;
}

/** @param {Statement} statement */
function drawBuild({ version, build }) {
  const { executable_sha256: program, commit, test_probes: probes, web } = build;
  const files = make('ol', ...web.files.map(({ path, sha256 }) => make('li', text('code', `${sha256}  ${path}`))));
  const entries = [
    pair('Version', version),
    pair('Commit', commit ?? 'not named when it was built'),
    pair('The program, SHA-256', text('code', program ?? 'not known yet: ask again in a moment')),
    pair('The web client, SHA-256', text('code', web.sha256),
      make('details', text('summary', `Its ${web.files.length} files`), files)),
  ];
  if (probes) entries.push(pair('Test build', 'This program was built with test probes: do not trust it with a real call.'));
  el('build').replaceChildren(...entries);
}

/** @param {WebFile[]} files Stated by the server; fetched anew, as a browser that opens a call gets them. */
async function compareFiles(files) {
  const place = el('compared');
  place.textContent = 'Comparing…';
  place.removeAttribute('data-bad');
  const wrong = [];
  for (const { path, sha256 } of files) {
    const answer = await fetch(addressOf(path), { cache: 'no-store', headers: { accept: 'text/html, */*' } }).catch(() => null);
    const bytes = answer?.ok ? await answer.arrayBuffer() : new ArrayBuffer(0);
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    if ([...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('') !== sha256) wrong.push(path);
  }
  place.toggleAttribute('data-bad', wrong.length > 0);
  place.textContent = wrong.length === 0
    ? `All ${files.length} files that you were sent have the stated hashes. Compare those with the source.`
    : `Not as stated: ${wrong.join(', ')}. Reload this page; if it stays so, do not use this server.`;
}

async function show() {
  const answer = await fetch('/transparency.json', { cache: 'no-store' });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  /** @type {Statement} */ const statement = await answer.json();
  el('summary').textContent = statement.summary;
  drawKept(statement);
  drawModes(statement);
  el('memory').replaceChildren(...statement.in_memory.map(({ what, lifetime }) => pair(sentence(what).slice(0, -1), lifetime)));
  el('never').replaceChildren(...statement.never.map(({ what, why }) => pair(sentence(what).slice(0, -1), why)));
  drawBuild(statement);
  el('compare').addEventListener('click', () => void compareFiles(statement.build.web.files));
  el('statement').hidden = false;
}

/** Absent where a test asks for the words alone. */
if (globalThis.document) {
  show().catch(() => {
    el('summary').textContent = 'The server did not say what it keeps, or said it in a way that this page cannot read. ' +
      'Reload the page; if it stays so, treat this server as one that keeps everything.';
    el('summary').toggleAttribute('data-bad', true);
  });
}
