// What was written in the call: in memory only, and taken back by those who wrote it.

/**
 * @typedef {import('./participant.js').Participant} Participant
 * @typedef {{id: string, participant: Participant, text: string, at: number, unsent: boolean}} ChatMessage
 */

/** Characters of a message; with its seal it stays well inside a relay message. */
const LENGTH = 2_000;
/** Characters of an id; ours have 24. */
const ID_LENGTH = 64;
/** Messages that are remembered. */
const KEPT = 500;

export class ChatLog {
  /** Oldest first. @type {ChatMessage[]} */ messages = [];
  #told;

  /** @param {(message: ChatMessage, change: 'new' | 'unsent') => void} told */
  constructor(told) {
    this.#told = told;
  }

  /**
   * Notes a message of ours.
   * @param {Participant} self
   * @param {string} text
   * @returns {{id: string, text: string}} What to send.
   */
  write(self, text) {
    const bytes = [...crypto.getRandomValues(new Uint8Array(12))];
    const body = { id: bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(''), text: text.slice(0, LENGTH) };
    this.#keep(self, body.id, body.text);
    return body;
  }

  /**
   * Notes a message that was received; one that is not of the right form, or known already, is dropped.
   * @param {Participant} author
   * @param {{id?: unknown, text?: unknown}} body
   */
  receive(author, { id, text }) {
    if (typeof id !== 'string' || typeof text !== 'string' || id.length > ID_LENGTH) return;
    if (this.messages.some((message) => message.id === id)) return;
    this.#keep(author, id, text.slice(0, LENGTH));
  }

  /**
   * @param {Participant} author Nobody takes back what another wrote.
   * @param {unknown} id
   * @returns {boolean} Whether there was such a message.
   */
  takeBack(author, id) {
    const message = this.messages.find((each) => each.id === id && each.participant === author);
    if (!message || message.unsent) return false;
    message.unsent = true;
    message.text = '';
    this.#told(message, 'unsent');
    return true;
  }

  clear() {
    this.messages.length = 0;
  }

  /**
   * @param {Participant} participant
   * @param {string} id
   * @param {string} text
   */
  #keep(participant, id, text) {
    const message = { id, participant, text, at: Date.now(), unsent: false };
    this.messages.push(message);
    if (this.messages.length > KEPT) this.messages.shift();
    this.#told(message, 'new');
  }
}
