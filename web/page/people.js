// The people panel: who is here and who hosts, who asks to come in, and what the host may do about them. What it shows
// of the host's rights is what the members' own browsers enforce; the server is told the same.

import { announce, el, text, within } from './view.js';
import { knockWords, removeWords } from './words.js';

/**
 * @typedef {import('../sdk/sotto.js').Call} Call
 * @typedef {import('../sdk/sotto.js').Participant} Participant
 * @typedef {import('../sdk/moderation.js').Knock} Knock
 */

export class People {
  #call;
  #failed;
  #until = new AbortController();
  /** Ids of those whose asking was told. @type {Set<string>} */ #told = new Set();
  /** Whom the open question is about. @type {Participant | null} */ #removing = null;

  /**
   * @param {Call} call
   * @param {(sentence: string) => void} failed Says what did not work.
   */
  constructor(call, failed) {
    this.#call = call;
    this.#failed = failed;
    const { signal } = this.#until;
    const lock = el('lock', HTMLInputElement);
    lock.addEventListener('change', () => void this.#lock(lock.checked), { signal });
    el('mute-all').addEventListener('click', () => void this.#muteAll(), { signal });
    const dialog = el('removing', HTMLDialogElement);
    dialog.addEventListener('close', () => void this.#answered(dialog.returnValue), { signal });
    this.draw();
  }

  /** A sentence on who asks to come in, for the host alone; nothing when nobody does. */
  get asking() {
    const { isHost, knocks } = this.#call;
    return isHost && knocks.length > 0 ? knockWords(knocks.map(({ name }) => name)) : '';
  }

  /** Says aloud who has come to the door since. */
  knocked() {
    const { knocks } = this.#call;
    const fresh = knocks.filter(({ participant }) => !this.#told.has(participant));
    this.#told = new Set(knocks.map(({ participant }) => participant));
    if (fresh.length > 0 && this.#call.isHost) announce(knockWords(fresh.map(({ name }) => name)));
    this.#drawKnocks();
  }

  draw() {
    const { isHost, locked } = this.#call;
    el('hosting').hidden = !isHost;
    el('lock', HTMLInputElement).checked = locked;
    el('locked').hidden = !locked;
    const note = el('lock-note');
    note.hidden = !locked || isHost;
    note.textContent = this.#call.host === null
      ? 'This call is locked, and its host is not here. Nobody else can be let in until the host is back.'
      : 'This call is locked. Whoever opens the link waits until the host lets them in.';
    el('invite-help').textContent = locked
      ? 'Whoever has this link can ask to come in. Send it in a way that you trust: it holds the key.'
      : 'Whoever has this link can join the call. Send it in a way that you trust: it holds the key.';
    this.#drawMembers();
    this.#drawKnocks();
    const gone = this.#removing !== null && !this.#call.participants.includes(this.#removing);
    if (gone) el('removing', HTMLDialogElement).close('');
  }

  close() {
    this.#until.abort();
    this.#removing = null;
  }

  #drawMembers() {
    const { host, isHost, participants, self } = this.#call;
    keepFocus(el('people'), [self, ...participants].map((participant) => {
      const entry = document.createElement('li');
      entry.dataset.key = participant.id;
      const name = text('span', participant.name);
      if (participant.self) name.append(' ', text('small', 'you'));
      if (participant === host) name.append(' ', text('b', 'Host', 'tag'));
      entry.append(name);
      if (isHost && !participant.self) {
        entry.append(action('Remove', `Remove ${participant.name}`, '', () => this.#ask(participant)));
      }
      return entry;
    }));
  }

  #drawKnocks() {
    const { isHost, host, knocks } = this.#call;
    const had = el('knocking').contains(document.activeElement);
    el('knocking').hidden = knocks.length === 0;
    if (had && knocks.length === 0) el('panel-title').focus();
    const badge = el('knock-count');
    badge.hidden = !isHost || knocks.length === 0;
    badge.textContent = knocks.length > 9 ? '9+' : String(knocks.length);
    el('open-people').setAttribute('aria-label', badge.hidden ? 'People' : `People, ${knocks.length} asking to come in`);
    el('knocking-help').textContent = isHost
      ? 'Nobody vouches for a name. If in doubt, ask them by other means before you let them in.'
      : host === null ? 'Only the host can let them in, and is not here.' : 'Only the host can let them in.';
    keepFocus(el('knocks'), knocks.map((knock) => {
      const entry = document.createElement('li');
      entry.dataset.key = knock.participant;
      entry.append(text('span', knock.name));
      if (isHost) entry.append(this.#answers(knock));
      return entry;
    }));
  }

  /** @param {Knock} knock */
  #answers({ participant, name }) {
    const both = document.createElement('div');
    both.append(
      action('Let in', `Let ${name} in`, 'primary', () => this.#do(() => this.#call.admit(participant))),
      action('Refuse', `Do not let ${name} in`, '', () => this.#do(() => this.#call.deny(participant))),
    );
    return both;
  }

  /** @param {boolean} locked */
  async #lock(locked) {
    await this.#do(() => this.#call.lock(locked));
    announce(this.#call.locked ? 'The call is locked.' : 'The call is open to whoever has the link.');
    this.draw();
  }

  async #muteAll() {
    await this.#do(() => this.#call.muteAll());
    const label = within(el('mute-all'), 'span');
    label.textContent = 'Everybody was asked';
    announce('Everybody was asked to mute.');
    setTimeout(() => (label.textContent = 'Ask everybody to mute'), 2_500);
  }

  /** @param {Participant} participant */
  #ask(participant) {
    const dialog = el('removing', HTMLDialogElement);
    if (dialog.open) return;
    const words = removeWords(participant.name);
    el('removing-title').textContent = words.title;
    el('removing-text').textContent = words.text;
    within(dialog, 'button.danger').textContent = words.action ?? '';
    this.#removing = participant;
    dialog.returnValue = '';
    dialog.showModal();
  }

  /** @param {string} answer */
  async #answered(answer) {
    const participant = this.#removing;
    this.#removing = null;
    if (answer === 'remove' && participant) await this.#do(() => this.#call.remove(participant));
  }

  /** @param {() => unknown} act */
  async #do(act) {
    try {
      await act();
    } catch {
      this.#failed('That did not reach the others. Check your connection, then try again.');
    }
  }
}

/**
 * @param {string} label
 * @param {string} full What a screen reader says of it.
 * @param {string} className
 * @param {() => unknown} act
 */
function action(label, full, className, act) {
  const button = /** @type {HTMLButtonElement} */ (text('button', label, `small ${className}`.trim()));
  button.type = 'button';
  button.setAttribute('aria-label', full);
  button.title = full;
  button.addEventListener('click', act);
  return button;
}

/**
 * Redraws a list while somebody may be in the middle of it: the same button of the same entry has the focus after.
 * @param {HTMLElement} list
 * @param {HTMLElement[]} entries Each with its `data-key`.
 */
function keepFocus(list, entries) {
  const active = document.activeElement;
  const key = active instanceof HTMLElement && list.contains(active) ? active.closest('li')?.dataset.key : undefined;
  const label = active?.getAttribute('aria-label') ?? '';
  list.replaceChildren(...entries);
  if (key === undefined) return;
  const entry = entries.find((each) => each.dataset.key === key);
  const buttons = [...(entry?.querySelectorAll('button') ?? [])];
  const same = buttons.find((button) => button.getAttribute('aria-label') === label);
  (same ?? list.querySelector('button') ?? el('panel-title')).focus();
}
