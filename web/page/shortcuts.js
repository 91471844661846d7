// Single-key shortcuts while in a call; they can be turned off in the help, for those whom they disturb.

import { el } from './view.js';

/**
 * @param {Record<string, () => void>} actions By key, lower case; with `Shift+` before it where held.
 * @param {AbortSignal} signal
 */
export function listenForShortcuts(actions, signal) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest('dialog')) return;
    if (event.key !== 'Escape' && target?.closest('input, textarea, select')) return;
    if (event.key !== 'Escape' && !el('single-keys', HTMLInputElement).checked) return;
    const letter = /^[a-z]$/i.test(event.key);
    const key = (letter && event.shiftKey ? 'Shift+' : '') + (letter ? event.key.toLowerCase() : event.key);
    const action = actions[key];
    if (!action) return;
    event.preventDefault();
    action();
  }, { signal });
}
