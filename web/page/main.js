// The way through the page: start or open a link, get ready, be in the call, be told how it ended.
//
// For tests and for those who like to script their calls: `?name=Ana` fills in the name and `autojoin=1` joins
// without a click; `sotto.call` is the running call as the SDK has it. The link's secret is never in the query, is
// taken out of the address bar at once, and is kept in this module's memory only.

import { Call } from '../sdk/sotto.js';
import { Devices } from './devices.js';
import { stateWhatIsKept } from './keeps.js';
import { Prejoin } from './prejoin.js';
import { drawReceipt } from './receipt.js';
import { Room } from './room.js';
import { tieSwitches, tunnelWanted } from './setting.js';
import { el, notice, showView } from './view.js';
import { callWords, waitingCode } from './words.js';

/** Characters of the fragment of a host link and of an invite link. */
const HOST_LENGTH = 43;
const INVITE_LENGTH = 64;

const query = new URLSearchParams(location.search);
const devices = new Devices();
const prejoin = new Prejoin(devices);
/** The links of the call that we are about to join, or are in. @type {{host: string | null, invite: string} | null} */
let links = null;
/** @type {Room | null} */
let room = null;
let joining = false;
/** While we wait to be let in: ends that. @type {AbortController | null} */
let waiting = null;
/** The call that was left last, while its end is shown. @type {Call | null} */
let awaited = null;

/** @type {{call: Call | null}} */
const shared = { call: null };
Object.assign(globalThis, { sotto: shared });

/**
 * @param {string} address
 * @returns {string | null} The link in it, if it has the form of one.
 */
function linkIn(address) {
  try {
    const url = new URL(address.trim(), location.href);
    const secret = url.hash.slice(1);
    const known = secret.length === HOST_LENGTH || secret.length === INVITE_LENGTH;
    return known && /^[\w-]+$/.test(secret) ? `${url.origin}/c#${secret}` : null;
  } catch {
    return null;
  }
}

/** @param {string | null} link */
async function openLink(link) {
  if (link === null) return ended('link');
  if (link.length - link.indexOf('#') - 1 === HOST_LENGTH) {
    links = { host: link, invite: '' };
    try {
      links.invite = await Call.inviteOf(link);
    } catch {
      return ended('link');
    }
  } else {
    links = { host: null, invite: link };
  }
  await getReady(false);
}

/** @param {boolean} fresh Whether the call was made just now. */
async function getReady(fresh) {
  history.replaceState(null, '', `/c${location.search}`);
  if (!Call.supported) return ended('unsupported');
  el('prejoin-title').textContent = fresh ? 'Your call is ready' : 'Ready to join?';
  el('prejoin-text').textContent = fresh
    ? 'Once inside, copy the invite link and send it to the others.'
    : 'You were invited to an end-to-end encrypted call.';
  document.title = 'Join · Sotto';
  notice(el('join-problem'), null);
  const name = el('name', HTMLInputElement);
  name.value ||= query.get('name') ?? '';
  showView('prejoin');
  // On a touch screen the keyboard would rise over the preview.
  (matchMedia('(pointer: coarse)').matches ? el('prejoin-title') : name).focus();
  await prejoin.open();
  if (query.get('autojoin') === '1' && name.value) await join();
}

async function join() {
  const name = el('name', HTMLInputElement).value.trim();
  if (joining || links === null || name === '') return;
  joining = true;
  const button = el('join', HTMLButtonElement);
  button.disabled = true;
  button.textContent = 'Joining…';
  notice(el('join-problem'), null);
  const stream = await prejoin.take();
  const attempt = new AbortController();
  try {
    const call = await Call.join(links.host ?? links.invite, {
      name, stream, tunnel: tunnelWanted(), waiting: () => wait(name, attempt), signal: attempt.signal,
    });
    shared.call = call;
    enter(call);
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    await refused(/** @type {{code?: string}} */ (error), attempt.signal.aborted);
  } finally {
    joining = false;
    waiting = null;
    button.disabled = false;
    button.textContent = 'Join the call';
  }
}

/**
 * The call is locked, and we asked to come in.
 * @param {string} name
 * @param {AbortController} attempt
 */
function wait(name, attempt) {
  // Whoever has the host's link lets themselves in, and a call that goes on asks its own way back.
  if (waiting || room || links?.host) return;
  waiting = attempt;
  el('waiting-name').textContent = name;
  document.title = 'Waiting · Sotto';
  showView('waiting');
  el('waiting-title').focus();
}

/**
 * @param {{code?: string}} error
 * @param {boolean} stopped Whether we gave up waiting.
 */
async function refused(error, stopped) {
  if (stopped) return getReady(false);
  const code = waiting ? waitingCode(error.code) : error.code;
  if (code === 'denied' || code === 'deserted') return ended(code);
  if (waiting) showView('prejoin');
  notice(el('join-problem'), callWords(error));
  el('join-problem').scrollIntoView({ block: 'nearest', behavior: 'smooth' });
  void prejoin.open();
}

/** @param {Call} call */
function enter(call) {
  if (links === null) return;
  showView('call');
  const here = new Room(call, devices, links.invite, links.host === null, () => over());
  room = here;
  el('call-title').focus();
  const over = (/** @type {string | undefined} */ code = undefined) => {
    if (room !== here) return;
    here.close();
    room = null;
    shared.call = null;
    ended(code);
    awaited = call;
  };
  call.addEventListener('state', (event) => {
    const { state, reason, receipt } = /** @type {CustomEvent} */ (event).detail;
    if (state !== 'ended') return;
    over(reason?.code);
    // It comes a moment after we left, and may find the person at something else.
    if (awaited === call) drawReceipt(receipt);
  });
}

/** @param {string} [code] Why; absent when we left by ourselves. */
function ended(code) {
  awaited = null;
  drawReceipt(null);
  const words = code === undefined
    ? { title: 'You left the call', text: 'What was written in it is gone from this device.', action: 'Join again' }
    : callWords({ code });
  el('ended-title').textContent = words.title;
  el('ended-text').textContent = words.text;
  const again = el('again');
  again.hidden = links === null || !words.action;
  again.textContent = words.action ?? '';
  document.title = `${words.title} · Sotto`;
  showView('ended');
  el('ended-title').focus();
}

function forgot() {
  el('ended-title').textContent = 'Open the invite link again';
  el('ended-text').textContent =
    'This page takes the secret out of the address bar and keeps it in memory only, so a reload forgets it. ' +
    'Open the link that you were sent once more.';
  el('again').hidden = true;
  awaited = null;
  drawReceipt(null);
  document.title = 'Open the link again · Sotto';
  showView('ended');
  el('ended-title').focus();
}

el('create').addEventListener('click', async () => {
  if (!Call.supported) return ended('unsupported');
  links = await Call.newLink(location.origin);
  await getReady(true);
});
el('open-link').addEventListener('submit', (event) => {
  event.preventDefault();
  const link = linkIn(el('link', HTMLInputElement).value);
  const problem = el('link-problem');
  problem.hidden = link !== null;
  problem.textContent = callWords({ code: 'link' }).text;
  if (link === null) return;
  el('link', HTMLInputElement).value = '';
  void openLink(link);
});
el('join-form').addEventListener('submit', (event) => {
  event.preventDefault();
  void join();
});
el('again').addEventListener('click', () => void getReady(false));
el('stop-waiting').addEventListener('click', () => waiting?.abort());
addEventListener('hashchange', () => {
  const link = linkIn(location.href);
  history.replaceState(null, '', location.pathname + location.search);
  if (link === null || link === links?.host || link === links?.invite) return;
  if (room) return room.refuseLink();
  if (joining && !waiting) return;
  waiting?.abort();
  void openLink(link);
});

void stateWhatIsKept();
tieSwitches();
if (location.hash.length > 1) {
  const link = linkIn(location.href);
  history.replaceState(null, '', location.pathname + location.search);
  void openLink(link);
} else if (location.pathname === '/c') {
  forgot();
} else {
  document.title = 'Sotto';
  showView('landing');
}
