// The chat panel. Text is text: nothing that anybody writes is read as markup.

import { announce, el, icon, text } from './view.js';

/**
 * @typedef {import('../sdk/sotto.js').Call} Call
 * @typedef {import('../sdk/sotto.js').ChatMessage} ChatMessage
 */

/** Messages of one person within this many milliseconds stand under one name. */
const TOGETHER_MS = 120_000;

export class Chat {
  #call;
  #list = el('messages');
  #input = el('chat-input', HTMLTextAreaElement);
  #reading;
  #unread = 0;
  #until = new AbortController();

  /**
   * @param {Call} call
   * @param {() => boolean} reading Whether the panel is open.
   */
  constructor(call, reading) {
    this.#call = call;
    this.#reading = reading;
    this.#list.replaceChildren();
    const { signal } = this.#until;
    el('chat-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    }, { signal });
    this.#input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    }, { signal });
    this.#input.addEventListener('input', () => this.#fit(), { signal });
    this.#count(0);
    this.#promise(false);
  }

  opened() {
    this.#count(0);
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#input.focus();
  }

  /** @param {ChatMessage} message */
  added(message) {
    this.#promise(true);
    const atEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 40;
    this.#list.append(this.#entry(message));
    while (this.#list.children.length > this.#call.messages.length) this.#list.firstElementChild?.remove();
    if (atEnd || message.participant.self) this.#list.scrollTop = this.#list.scrollHeight;
    if (message.participant.self || this.#reading()) return;
    this.#count(this.#unread + 1);
    announce(`Message from ${message.participant.name}: ${message.text}`);
  }

  /** @param {ChatMessage} message */
  unsent(message) {
    for (const entry of this.#list.children) {
      if (/** @type {HTMLElement} */ (entry).dataset.message !== message.id) continue;
      entry.querySelector('.words')?.replaceChildren('Message taken back');
      entry.classList.add('taken-back');
      entry.querySelector('button')?.remove();
    }
  }

  /** What was written goes with the call. */
  close() {
    this.#until.abort();
    this.#list.replaceChildren();
    this.#promise(false);
    this.#input.value = '';
    this.#fit();
  }

  #send() {
    const words = this.#input.value.trim();
    if (words === '') return;
    this.#call.sendChat(words);
    this.#input.value = '';
    this.#fit();
    this.#input.focus();
  }

  /** Says what becomes of messages, where there is room for it. @param {boolean} some Whether any was written. */
  #promise(some) {
    el('no-messages').hidden = some;
    el('chat-promise').hidden = !some;
  }

  #fit() {
    this.#input.style.height = 'auto';
    if (this.#input.value) this.#input.style.height = `${Math.min(140, this.#input.scrollHeight)}px`;
  }

  /** @param {ChatMessage} message */
  #entry(message) {
    const { id, participant, text: words, at } = message;
    const entry = document.createElement('li');
    entry.dataset.message = id;
    entry.dataset.author = participant.id;
    entry.dataset.at = String(at);
    if (participant.self) entry.classList.add('own');
    const last = /** @type {HTMLElement | null} */ (this.#list.lastElementChild);
    const together = last?.dataset.author === participant.id && at - Number(last.dataset.at) < TOGETHER_MS;
    if (!together) {
      const time = new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
      const header = document.createElement('header');
      header.append(text('strong', participant.self ? 'You' : participant.name), text('time', time));
      entry.append(header);
    }
    const line = document.createElement('div');
    line.append(text('p', words, 'words'));
    if (participant.self) {
      const back = document.createElement('button');
      back.type = 'button';
      back.className = 'plain take-back';
      back.title = 'Take this message back';
      back.setAttribute('aria-label', 'Take this message back');
      back.append(icon('close'));
      back.addEventListener('click', () => this.#call.unsend(id));
      line.append(back);
    }
    entry.append(line);
    return entry;
  }

  /** @param {number} unread */
  #count(unread) {
    this.#unread = unread;
    const badge = el('unread');
    badge.hidden = unread === 0;
    badge.textContent = unread > 9 ? '9+' : String(unread);
    const label = unread === 0 ? 'Chat' : `Chat, ${unread} unread`;
    el('open-chat').setAttribute('aria-label', label);
  }
}
