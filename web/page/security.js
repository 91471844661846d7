// The encryption panel: the code to compare, who is here, who came and left.

import { announce, el, text } from './view.js';
import { listed } from './words.js';

/** @typedef {import('../sdk/sotto.js').Call} Call */

/** Lines of coming and going that are kept. */
const LOG_KEPT = 50;

export class Security {
  #call;
  #changed = '';

  /** @param {Call} call */
  constructor(call) {
    this.#call = call;
    el('log').replaceChildren();
    this.draw();
  }

  /**
   * The code changed, because the people did.
   * @param {string[]} joined
   * @param {string[]} left
   */
  changed(joined, left) {
    for (const name of joined) this.#note(`${name} came`);
    for (const name of left) this.#note(`${name} left`);
    const parts = [];
    if (joined.length > 0) parts.push(`${listed(joined)} came`);
    if (left.length > 0) parts.push(`${listed(left)} left`);
    if (parts.length > 0) {
      announce(`${parts.join(', and ')}.`);
      this.#changed = this.#call.verificationCode ? `New code, because ${parts.join(' and ')}.` : '';
    }
    this.draw();
  }

  draw() {
    const code = this.#call.verificationCode;
    const groups = code.match(/\d{5}/g) ?? [];
    el('code').replaceChildren(...groups.map((group) => text('span', group)));
    el('code').dataset.code = groups.join(' ');
    el('code').hidden = groups.length === 0;
    el('code-help').textContent = groups.length === 0
      ? 'As soon as somebody else is here, you will both see the same thirty digits.'
      : 'Read these digits aloud to each other: if everybody has the same ones, nobody listens in between, not even ' +
        'the server. They change whenever somebody comes or leaves.';
    const change = el('code-change');
    change.hidden = this.#changed === '' || groups.length === 0;
    change.textContent = this.#changed;
    el('people').replaceChildren(...[this.#call.self, ...this.#call.participants].map((participant) => {
      const entry = document.createElement('li');
      const about = aboutThem(participant);
      entry.append(text('span', participant.name));
      if (about) entry.append(text('small', about, participant.unverified.size > 0 ? 'bad' : ''));
      return entry;
    }));
  }

  /** @param {string} sentence */
  #note(sentence) {
    const entry = document.createElement('li');
    const time = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    entry.append(text('span', sentence), text('time', time));
    const log = el('log');
    log.prepend(entry);
    while (log.children.length > LOG_KEPT) log.lastElementChild?.remove();
  }
}

/** @param {import('../sdk/sotto.js').Participant} participant */
function aboutThem({ self, present, unverified }) {
  if (self) return 'you';
  if (unverified.size > 0) return 'not verified';
  return present ? '' : 'reconnecting';
}
