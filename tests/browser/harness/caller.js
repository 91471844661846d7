// A participant without media: real signaling and real keys, from an address and with headers of the test's choice.
import { readFileSync } from 'node:fs';
import { webcrypto } from 'node:crypto';
import { Core } from '../../../web/e2ee/core.js';
import { Wire } from './wire.js';

const OFFER = readFileSync(new URL('../../../src/sdp/golden/chromium-plain.sdp', import.meta.url), 'utf8');

export class Caller {
  /** Everything that was said and heard, parsed. */
  log = [];
  #wire;
  #core;
  #offers = 0;

  /** `relay` is where and under which name it is reached, and from which address. */
  static async join(relay, link, name, headers = {}) {
    const caller = new Caller();
    const environment = {
      crypto: webcrypto,
      now: () => performance.now(),
      after(milliseconds, task) {
        const timer = setTimeout(task, milliseconds);
        return () => clearTimeout(timer);
      },
      emit: (type, detail) => type === 'send' && caller.say({ type: 'relay', ...detail }),
    };
    caller.#core = await Core.open(environment, link, name);
    caller.#wire = await Wire.open(relay, headers);
    const { nonce } = await caller.#hear();
    caller.say({ type: 'join', v: 1, ...(await caller.#core.admission(nonce, relay.name)) });
    const joined = await caller.#hear();
    if (joined?.type !== 'joined') throw new Error(`not let in: ${JSON.stringify(joined)}`);
    caller.id = joined.participant;
    caller.#core.joined(joined.participant, joined.participants.map(({ id }) => id));
    caller.#listen();
    return caller;
  }

  say(message) {
    this.log.push(message);
    this.#wire.say(message);
  }

  /** Describes a connection as Chromium does, with ICE lines and candidates of the caller's own. */
  offer({ ufrag, pwd, candidates }) {
    const lines = candidates.map((address, n) => `a=candidate:${n} 1 udp 2113937151 ${address} 40404 typ host\r\n`).join('');
    const sdp = OFFER.replace(/\r?\n/g, '\r\n').replace(/^a=ice-ufrag:.*$/gm, `a=ice-ufrag:${ufrag}`)
      .replace(/^a=ice-pwd:.*\r\n/gm, `a=ice-pwd:${pwd}\r\n${lines}`);
    this.say({ type: 'offer', id: ++this.#offers, sdp });
  }

  chat(text) {
    return this.#core.send('chat', { id: 'm-1', text });
  }

  leave() {
    this.#core.close();
    this.say({ type: 'leave' });
    return this.#wire.end();
  }

  get public() {
    return this.#wire.public;
  }

  async #hear() {
    const message = await this.#wire.hear();
    if (message) this.log.push(message);
    return message;
  }

  async #listen() {
    for (let message = await this.#hear(); message; message = await this.#hear()) {
      if (message.type === 'relay') this.#core.receive(message.from, message.data);
      if (message.type === 'participant') this.#core.arrived(message.id);
      if (message.type === 'left') this.#core.departed(message.id);
    }
    this.#core.close();
  }
}
