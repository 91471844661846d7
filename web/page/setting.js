// The one thing that this page remembers beyond a call: that somebody turned the tunnel off. Nothing is stored while
// it is on, as it is for most.

/** Of the browser's local storage. */
const KEY = 'sotto tunnel';
const OFF = 'off';

/** Storage may be forbidden; the choice then lasts as long as the page. */
let off = false;

/** Whether calls of two are sealed from browser to browser, where the others and the server agree. */
export function tunnelWanted() {
  try {
    return localStorage.getItem(KEY) !== OFF;
  } catch {
    return !off;
  }
}

/** @param {boolean} wanted */
export function wantTunnel(wanted) {
  off = !wanted;
  try {
    if (wanted) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, OFF);
  } catch {
    // Said above.
  }
}

/** Ties every switch of the page that stands for it to the setting. */
export function tieSwitches() {
  /** @type {NodeListOf<HTMLInputElement>} */
  const switches = document.querySelectorAll('input[data-setting="tunnel"]');
  for (const each of switches) {
    each.checked = tunnelWanted();
    each.addEventListener('change', () => {
      wantTunnel(each.checked);
      for (const other of switches) other.checked = each.checked;
    });
  }
}
