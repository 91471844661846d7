// The few things that every part of the page does with the document.

/**
 * The element with this id, which the page is known to have.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [type]
 * @returns {T}
 */
export function el(id, type) {
  const found = document.getElementById(id);
  if (!found || (type && !(found instanceof type))) throw new Error(`The page has no element "${id}".`);
  return /** @type {T} */ (found);
}

/**
 * @param {ParentNode} parent
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function within(parent, selector) {
  const found = parent.querySelector(selector);
  if (!found) throw new Error(`The page has no "${selector}".`);
  return /** @type {HTMLElement} */ (found);
}

/** @param {string} name Of a symbol in index.html. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * An element with text, which is never read as markup.
 * @param {string} tag
 * @param {string} text
 * @param {string} [className]
 */
export function text(tag, text, className = '') {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

/** @param {'landing' | 'prejoin' | 'waiting' | 'call' | 'ended'} view */
export function showView(view) {
  for (const main of document.querySelectorAll('main')) main.hidden = main.id !== view;
  document.body.dataset.view = view;
  scrollTo(0, 0);
}

/**
 * Shows what went wrong and what to do, or nothing.
 * @param {HTMLElement} box With a `strong` and a `p`.
 * @param {{title: string, text: string} | null} words
 */
export function notice(box, words) {
  box.hidden = words === null;
  if (!words) return;
  within(box, 'strong').textContent = words.title;
  within(box, 'p').textContent = words.text;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let speaking;
/** @type {string[]} */
const unsaid = [];

/**
 * Tells screen readers. What comes at once is told together, for a live region that changes twice is heard once.
 * @param {string} sentence
 */
export function announce(sentence) {
  unsaid.push(sentence);
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    el('announce').textContent = unsaid.splice(0).join(' ');
  }, 150);
}

/** Takes back what was told and what was to be, words of the chat among it. */
export function hush() {
  clearTimeout(speaking);
  unsaid.length = 0;
  el('announce').textContent = '';
}
