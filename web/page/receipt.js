// What leaving a call leaves behind, in plain words: the server's own statement of the row that it stores.

import { el, text } from './view.js';

/**
 * @typedef {import('../sdk/sotto.js').Receipt} Receipt
 * @typedef {{ended_day: string, duration_minutes: number, peak_participants: number, end_reason: string,
 *   expires_at: number}} Row
 * @typedef {{title: string, rows: [string, string][], text: string}} ReceiptWords
 */

/** @type {Record<string, string>} */
const REASONS = {
  completed: 'everybody left',
  failed: 'the server lost it',
  drained: 'the server was stopped',
};

/**
 * @param {Receipt} receipt
 * @returns {ReceiptWords}
 */
export function receiptWords({ final, retention_days: days, row: stated }) {
  const row = /** @type {Row | null} */ (stated);
  if (row === null) {
    return { title: 'Nothing was stored', rows: [], text: 'This server keeps no record of any call, nor of this one.' };
  }
  const people = row.peak_participants === 1 ? 'one' : String(row.peak_participants);
  /** @type {[string, string][]} */
  const rows = [
    ['Day', `${dayOf(row.ended_day)}, in UTC`],
    ['Length', row.duration_minutes === 1 ? 'one minute at most' : `${row.duration_minutes} minutes, rounded up`],
    ['Most people at once', people],
    ['How it ended', final ? REASONS[row.end_reason] ?? row.end_reason : 'goes on without you'],
    ['Erased', `${momentOf(row.expires_at)}, at most an hour later`],
  ];
  const kept = `under a random number, for ${days === 1 ? 'one day' : `${days} days`}`;
  return {
    title: final ? 'What was stored of this call' : 'What will be stored of this call',
    rows,
    text: final
      ? `This line is all, kept ${kept}. Not stored: who, from where, with whom, what.`
      : `Once the last person has left, this line is all, brought up to then and kept ${kept}. ` +
        'Not stored: who, from where, with whom, what.',
  };
}

/** Shows it, or nothing where the server could not say. @param {Receipt | null} receipt */
export function drawReceipt(receipt) {
  el('receipt').hidden = receipt === null;
  el('ended-keeps').hidden = receipt !== null;
  if (receipt === null) return;
  const words = receiptWords(receipt);
  el('receipt-title').textContent = words.title;
  el('receipt-text').textContent = words.text;
  el('receipt-rows').hidden = words.rows.length === 0;
  el('receipt-rows').replaceChildren(...words.rows.map(([name, value]) => {
    const line = document.createElement('div');
    line.append(text('dt', name), text('dd', value));
    return line;
  }));
}

/** @param {string} day As `2026-11-22`, in UTC. */
function dayOf(day) {
  const date = new Date(`${day}T00:00:00Z`);
  if (Number.isNaN(date.getTime())) return day;
  return date.toLocaleDateString('en', { dateStyle: 'long', timeZone: 'UTC' });
}

/** @param {number} seconds Unix time. */
function momentOf(seconds) {
  return new Date(seconds * 1000).toLocaleString('en', { dateStyle: 'long', timeStyle: 'short', hourCycle: 'h23' });
}
