// The encryption panel: the code to compare, which way the call takes, who is here, who came and left.

import { tunnelWanted } from './setting.js';
import { announce, el, text } from './view.js';
import { changeWords, pathWords } from './words.js';

/** @typedef {import('../sdk/sotto.js').Call} Call */

/** Lines of coming and going that are kept. */
const LOG_KEPT = 50;

export class Security {
  #call;
  #changed = '';
  #badge = '';
  /** As it was when we joined. */ #wanted = tunnelWanted();

  /** @param {Call} call */
  constructor(call) {
    this.#call = call;
    el('log').replaceChildren();
    this.draw();
  }

  /**
   * The code changed, because the people did.
   * @param {{joined: string[], left: string[], removed: string[]}} change Names.
   */
  changed(change) {
    for (const name of change.joined) this.#note(`${name} came`);
    for (const name of change.left) this.#note(`${name} left`);
    for (const name of change.removed) this.#note(`${name} was removed by the host`);
    const why = changeWords(change);
    if (why !== '') {
      announce(`${why}.`);
      this.#changed = this.#call.verificationCode ? `New code, because ${why}.` : '';
    }
    this.draw();
  }

  /** Which way sound and pictures take now. */
  drawPath() {
    const { badge, title, text: words } = pathWords(this.#call.path, this.#call.participants.length + 1, this.#wanted);
    const place = el('path-badge');
    place.hidden = badge === '';
    place.dataset.path = badge === '' ? '' : this.#call.path;
    place.textContent = badge;
    el('path-title').textContent = title;
    el('path-text').textContent = words;
    if (badge !== '' && this.#badge !== '' && badge !== this.#badge) announce(`${badge}.`);
    this.#badge = badge;
  }

  draw() {
    this.drawPath();
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
    el('verified-people').replaceChildren(...[this.#call.self, ...this.#call.participants].map((participant) => {
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
