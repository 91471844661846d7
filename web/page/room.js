// The call as people see it: stage, controls, panels, and what is said when something changes.

import { Chat } from './chat.js';
import { People } from './people.js';
import { Security } from './security.js';
import { listenForShortcuts } from './shortcuts.js';
import { Stage } from './stage.js';
import { announce, el, hush, icon, text, within } from './view.js';
import { aloneWords, deviceWords, reconnectingWords } from './words.js';

/**
 * @typedef {import('../sdk/sotto.js').Call} Call
 * @typedef {import('./devices.js').Devices} Devices
 * @typedef {'chat' | 'security' | 'people'} PanelName
 */

/** Milliseconds for which a passing notice stays. */
const NOTICE_MS = 8_000;

export class Room {
  #call;
  #devices;
  #invite;
  #left;
  #stage;
  #chat;
  #security;
  #people;
  #until = new AbortController();
  /** @type {PanelName | null} */ #panel = null;
  /** @type {HTMLElement | null} */ #openedBy = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #notice;
  /** Whether the browser holds sound back until somebody clicks. */ #silenced = false;
  /** What we send, to tell a device that was pulled out from one that was turned off.
   *  @type {Map<string, MediaStreamTrack>} */ #sent = new Map();

  /**
   * @param {Call} call
   * @param {Devices} devices
   * @param {string} invite The link to hand on.
   * @param {boolean} invited Whether we came by an invite link.
   * @param {() => void} left What follows when we leave; what the relay still has to say, the call tells later.
   */
  constructor(call, devices, invite, invited, left) {
    this.#left = left;
    this.#call = call;
    this.#devices = devices;
    this.#invite = invite;
    el('invite', HTMLInputElement).value = invite;
    const { title, text } = aloneWords(invited);
    el('alone-title').textContent = title;
    el('alone-text').textContent = text;
    for (const source of /** @type {const} */ (['microphone', 'camera'])) this.#remember(source, call.localTrack(source));
    this.#stage = new Stage(el('stage'), call, (blocked) => this.#soundBlocked(blocked));
    this.#chat = new Chat(call, () => this.#panel === 'chat');
    this.#security = new Security(call);
    this.#people = new People(call, (sentence) => this.#passing(sentence));
    this.#listenToCall();
    this.#listenToPerson();
    this.#draw();
    this.#drawState();
    if (devices.chosen.audiooutput) void this.#stage.speakThrough(devices.chosen.audiooutput);
  }

  close() {
    this.#until.abort();
    this.#show(null);
    this.#banner('');
    this.#people.close();
    for (const dialog of document.querySelectorAll('dialog')) dialog.close();
    this.#chat.close();
    hush();
    this.#stage.close();
    // The page opened them, so nobody else turns their lights off.
    for (const track of this.#sent.values()) track.stop();
  }

  /** Another link was opened in this tab. */
  refuseLink() {
    this.#passing('You are in a call. Leave it first, then open the other link.');
  }

  #listenToCall() {
    const { signal } = this.#until;
    const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ act) =>
      this.#call.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail), { signal });
    on('state', ({ reason, closing }) => this.#drawState(reason, closing));
    on('participant', ({ participant, change }) => {
      if (change === 'left') this.#stage.remove(participant);
      else this.#stage.update(participant);
      this.#security.draw();
      this.#people.draw();
      this.#draw();
    });
    on('track', ({ participant, source, track }) => {
      void this.#stage.track(participant, source, track);
      this.#security.draw();
      this.#draw();
      if (source === 'screen') announce(`${participant.name} ${track ? 'shares a screen' : 'stopped sharing'}.`);
    });
    on('local', ({ source, track }) => {
      this.#stage.update(this.#call.self);
      this.#draw();
      const before = this.#sent.get(source);
      this.#remember(source, track);
      if (track === null && before) void this.#unplugged(source, before);
    });
    on('speaking', ({ participant, speaking }) => this.#stage.speaking(participant, speaking));
    on('chat', ({ message, change }) => (change === 'new' ? this.#chat.added(message) : this.#chat.unsent(message)));
    on('verification', ({ joined, left, removed }) => {
      this.#security.changed({ joined: joined ?? [], left: left ?? [], removed: removed ?? [] });
    });
    on('path', () => this.#security.drawPath());
    on('host', () => this.#people.draw());
    on('knock', () => {
      this.#people.knocked();
      this.#drawBannerOfState();
    });
    on('mute', ({ by }) => this.#muted(by));
    on('error', ({ error, participant, source }) => this.#fault(error, participant, source));
  }

  #listenToPerson() {
    const { signal } = this.#until;
    const click = (/** @type {string} */ id, /** @type {() => void} */ act) =>
      el(id).addEventListener('click', act, { signal });
    const microphone = () => void this.#device('audio', () => this.#toggleMicrophone());
    const camera = () => void this.#device('video', () => this.#toggleCamera());
    const share = () => void this.#share();
    click('microphone', microphone);
    click('camera', camera);
    click('share', share);
    click('leave', () => this.#leave());
    click('close-panel', () => this.#show(null));
    for (const button of document.querySelectorAll('button[data-open]')) {
      const { open = '' } = /** @type {HTMLElement} */ (button).dataset;
      button.addEventListener('click', () => this.#dialog(open), { signal });
    }
    for (const button of panelButtons()) {
      const name = /** @type {PanelName} */ (button.dataset.panel);
      button.addEventListener('click', () => this.#show(this.#panel === name ? null : name, button), { signal });
    }
    for (const button of document.querySelectorAll('button[data-copy-invite]')) {
      button.addEventListener('click', () => void this.#copy(/** @type {HTMLElement} */ (button)), { signal });
    }
    el('invite').addEventListener('focus', () => el('invite', HTMLInputElement).select(), { signal });
    this.#devices.addEventListener('chosen', (event) => {
      void this.#chosen(/** @type {CustomEvent} */ (event).detail);
    }, { signal });
    const panel = (/** @type {PanelName} */ name) => () => this.#show(this.#panel === name ? null : name);
    listenForShortcuts({
      m: microphone, v: camera, s: share, c: panel('chat'), e: panel('security'), p: panel('people'),
      'Shift+l': () => this.#leave(), '?': () => this.#dialog('help'), Escape: () => this.#show(null),
    }, signal);
    addEventListener('beforeunload', (event) => {
      if (this.#call.participants.length > 0) event.preventDefault();
    }, { signal });
  }

  #leave() {
    void this.#call.leave();
    this.#left();
  }

  async #toggleMicrophone() {
    if (this.#call.localTrack('microphone')) await this.#call.setMicrophone(!this.#call.microphone);
    else await this.#call.setMicrophone(await this.#devices.openMicrophone());
    announce(this.#call.microphone ? 'Microphone on.' : 'Microphone muted.');
  }

  async #toggleCamera() {
    const off = this.#call.camera;
    if (off) this.#sent.delete('camera');
    await this.#call.setCamera(off ? false : await this.#devices.openCamera());
    announce(this.#call.camera ? 'Camera on.' : 'Camera off.');
  }

  /**
   * @param {'audio' | 'video'} kind
   * @param {() => Promise<void>} act
   */
  async #device(kind, act) {
    try {
      await act();
      this.#draw();
    } catch (error) {
      const words = deviceWords(error, { audio: kind === 'audio', video: kind === 'video' }, true);
      this.#passing(`${words.title}. ${words.text}`);
    }
  }

  async #share() {
    try {
      await this.#call.shareScreen(!this.#call.sharing);
      if (this.#call.sharing) announce('You are sharing your screen.');
    } catch {
      this.#passing('The screen could not be shared. Check that your system allows this browser to, then try again.');
    }
    this.#draw();
  }

  /** @param {{kind: string, id: string}} choice */
  async #chosen({ kind, id }) {
    if (kind === 'audiooutput') await this.#stage.speakThrough(id);
    else if (kind === 'videoinput' && this.#call.camera) {
      await this.#device('video', async () => {
        // Some systems open one camera at a time.
        this.#sent.delete('camera');
        await this.#call.setCamera(false);
        await this.#call.setCamera(await this.#devices.openCamera());
      });
    } else if (kind === 'audioinput' && this.#call.localTrack('microphone')) {
      await this.#device('audio', async () => {
        const before = this.#call.localTrack('microphone');
        const track = await this.#devices.openMicrophone();
        track.enabled = before?.enabled ?? true;
        await this.#call.setMicrophone(track);
        before?.stop();
      });
    }
  }

  /**
   * @param {string} source
   * @param {MediaStreamTrack | null} track
   */
  #remember(source, track) {
    if (source !== 'microphone' && source !== 'camera') return;
    if (track) this.#sent.set(source, track);
    else this.#sent.delete(source);
  }

  /**
   * A device was pulled out. Another microphone takes over, as loud as the one before; no other camera does unasked.
   * @param {string} source
   * @param {MediaStreamTrack} before
   */
  async #unplugged(source, before) {
    if (source === 'camera') return this.#passing('Your camera was disconnected. Turn the camera on to use another one.');
    await this.#devices.list();
    try {
      const track = await this.#devices.openMicrophone();
      track.enabled = before.enabled;
      if (this.#until.signal.aborted) return track.stop();
      await this.#call.setMicrophone(track);
      this.#passing('Your microphone was disconnected, so another one is used.');
    } catch {
      this.#passing('Your microphone was disconnected: nobody hears you. Plug one in, then unmute.');
    }
  }

  /** @param {HTMLElement} button */
  async #copy(button) {
    const label = within(button, 'span');
    try {
      await navigator.clipboard.writeText(this.#invite);
      label.textContent = 'Copied';
      announce('Invite link copied.');
    } catch {
      this.#show('people');
      el('invite', HTMLInputElement).select();
      label.textContent = 'Copy it from the field';
    }
    setTimeout(() => (label.textContent = 'Copy invite link'), 2_500);
  }

  /** @param {string} id */
  #dialog(id) {
    const dialog = el(id, HTMLDialogElement);
    if (!dialog.open) dialog.showModal();
    void this.#devices.list();
  }

  /**
   * @param {PanelName | null} name
   * @param {HTMLElement | null} [openedBy]
   */
  #show(name, openedBy = null) {
    const panel = el('panel');
    const had = panel.contains(document.activeElement);
    this.#panel = name;
    panel.hidden = name === null;
    document.body.toggleAttribute('data-panel-open', name !== null);
    for (const section of panel.querySelectorAll('section')) {
      section.hidden = section.id !== `panel-${name}`;
      if (!section.hidden) el('panel-title').textContent = section.dataset.title ?? '';
    }
    for (const button of panelButtons()) button.setAttribute('aria-expanded', String(button.dataset.panel === name));
    // Beside the panel in which it is answered, the question would be there twice.
    if (el('banner').hidden || el('banner').hasAttribute('data-door')) this.#offerDoor();
    if (name === null) {
      if (had) (this.#openedBy ?? el('leave')).focus();
      this.#openedBy = null;
      return;
    }
    this.#openedBy = openedBy ?? document.querySelector(`button[data-panel="${name}"]`);
    if (name === 'chat') this.#chat.opened();
    else el('panel-title').focus();
  }

  #draw() {
    const { microphone, camera, sharing } = this.#call;
    tool('microphone', microphone ? 'microphone' : 'microphone-off', microphone ? 'Mute' : 'Unmute',
      microphone ? 'Mute microphone' : 'Unmute microphone');
    tool('camera', camera ? 'camera' : 'camera-off', 'Camera', camera ? 'Turn camera off' : 'Turn camera on');
    tool('share', sharing ? 'screen-off' : 'screen', sharing ? 'Stop' : 'Share',
      sharing ? 'Stop sharing' : 'Share a screen');
    el('microphone').toggleAttribute('data-off', !microphone);
    el('camera').toggleAttribute('data-off', !camera);
    el('share').toggleAttribute('data-active', sharing);
    el('share').hidden = !navigator.mediaDevices || !('getDisplayMedia' in navigator.mediaDevices);
    el('alone').hidden = this.#call.participants.length > 0;
    const bad = this.#call.participants.some((participant) => participant.unverified.size > 0);
    el('open-security').toggleAttribute('data-bad', bad);
    el('open-security').querySelector('use')?.setAttribute('href', `#icon-${bad ? 'alert' : 'shield'}`);
    el('chip-text').textContent = bad ? 'Not all verified' : 'End-to-end encrypted';
  }

  /**
   * @param {{code?: string}} [reason]
   * @param {number} [closing] Seconds until the relay stops.
   */
  #drawState(reason, closing) {
    const { state } = this.#call;
    const words = { connecting: 'Connecting', connected: 'Connected', reconnecting: 'Reconnecting', ended: 'Ended' };
    el('state').textContent = words[state];
    el('state').dataset.state = state;
    document.title = `${state === 'connected' ? 'In a call' : words[state]} · Sotto`;
    if (state === 'reconnecting') this.#banner(reconnectingWords(reason));
    else if (closing !== undefined) this.#banner('The server is about to restart. You will be back by yourself.');
    else if (this.#silenced) this.#offerSound();
    else if (state === 'connected') this.#offerDoor();
  }

  /**
   * @param {import('../sdk/sotto.js').SottoError} error
   * @param {import('../sdk/sotto.js').Participant | undefined} participant
   * @param {string | undefined} source
   */
  #fault(error, participant, source) {
    if (error.code === 'unverified') {
      announce(error.message);
      // Where there is a tile, it says so itself, for as long as it lasts.
      if (!participant || source === undefined) this.#passing(error.message);
    } else if (error.code === 'disagreement') {
      this.#passing('The people here do not all see the same members. Compare who is here, and the verification code.');
    } else if (error.code === 'encryption') {
      this.#passing('Something could not be encrypted or decrypted, so it was not sent or shown.');
    } else if (error.code !== 'unknown' && error.code !== 'unknown-type') {
      this.#passing(error.message);
    }
  }

  /** @param {boolean} blocked */
  #soundBlocked(blocked) {
    const changed = this.#silenced !== blocked;
    this.#silenced = blocked;
    if (changed) this.#drawBannerOfState();
  }

  #offerSound() {
    this.#banner('Your browser holds the sound back until you ask for it.', 'Play sound', () => void this.#stage.resume());
  }

  /** To the host: who asks to come in. Answered in the panel alone, where the name stands beside the button. */
  #offerDoor() {
    const asking = this.#panel === 'people' ? '' : this.#people.asking;
    this.#banner(asking, 'Answer', () => {
      this.#show('people', el('open-people'));
      el('knocking-title').focus();
    });
    el('banner').toggleAttribute('data-door', asking !== '');
  }

  /** The host asked for quiet, and the SDK has muted us. @param {import('../sdk/sotto.js').Participant} by */
  #muted(by) {
    const sentence = `${by.name}, the host, asked everybody to mute. You are muted.`;
    this.#passing(sentence, 'Unmute', () => void this.#device('audio', async () => {
      this.#drawBannerOfState();
      if (!this.#call.microphone) await this.#toggleMicrophone();
    }));
    announce(sentence);
    this.#draw();
  }

  /**
   * @param {string} sentence
   * @param {string} [action]
   * @param {() => void} [act]
   */
  #passing(sentence, action = 'Dismiss', act = () => this.#drawBannerOfState()) {
    this.#banner(sentence, action, act);
    this.#notice = setTimeout(() => this.#drawBannerOfState(), NOTICE_MS);
  }

  #drawBannerOfState() {
    this.#banner('');
    this.#drawState();
  }

  /**
   * @param {string} sentence Empty for none.
   * @param {string} [action]
   * @param {() => void} [act]
   */
  #banner(sentence, action, act) {
    clearTimeout(this.#notice);
    const banner = el('banner');
    banner.hidden = sentence === '';
    banner.removeAttribute('data-door');
    within(banner, 'span').textContent = sentence;
    const button = el('banner-action');
    button.hidden = !action;
    button.replaceChildren(text('span', action ?? ''));
    button.onclick = act ?? null;
  }
}

/** @returns {NodeListOf<HTMLElement>} */
function panelButtons() {
  return document.querySelectorAll('button[data-panel]');
}

/**
 * @param {string} id
 * @param {string} symbol
 * @param {string} label What is written below it.
 * @param {string} action What it does, in full.
 */
function tool(id, symbol, label, action) {
  const button = el(id);
  if (button.dataset.symbol === symbol) return;
  button.dataset.symbol = symbol;
  button.replaceChildren(icon(symbol), text('span', label));
  button.setAttribute('aria-label', action);
  button.title = action;
}
