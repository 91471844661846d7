// A server that lies: it drops, keeps back, replays, reorders, changes and invents messages, hides members from one
// another and lets in whom it likes. What it cannot do is what only the holders of the link or of a key can.

import { toBase64Url } from '../../web/e2ee/bytes.js';
import { World, crypto } from './world.js';

export class MaliciousRelay extends World {
  /** Each sees {from, to, data, type}; the first that gives something else than undefined decides. */
  #rules = [];
  /** What was kept back, in the order in which it came. */
  kept = [];

  constructor() {
    super();
    this.meddle = delivery => {
      const seen = { ...delivery, type: typeOf(delivery) };
      for (const rule of this.#rules) {
        const verdict = rule(seen);
        if (verdict !== undefined) return verdict;
      }
      return [delivery];
    };
  }

  /** Drops what matches, until the function that it returns is called. */
  drop(matches) {
    return this.#rule(delivery => (matches(delivery) ? [] : undefined));
  }

  /** Keeps back what matches; `release` lets it go. */
  keep(matches) {
    return this.#rule(delivery => {
      if (!matches(delivery)) return undefined;
      this.kept.push(delivery);
      return [];
    });
  }

  /** Changes what matches on the way. */
  change(matches, change) {
    return this.#rule(delivery => (matches(delivery) ? [{ ...delivery, ...change(delivery) }] : undefined));
  }

  /** Delivers what was kept back, in whatever order. */
  async release(order = kept => kept) {
    for (const { from, to, data } of order(this.kept.splice(0))) this.members.get(to)?.core.receive(from, data);
    await this.quiet();
  }

  /** Delivers something that it has, to whom it likes, in whose name it likes. */
  async replay(message, { from = message.from, to = message.to } = {}) {
    this.members.get(to)?.core.receive(from, message.data);
    await this.quiet();
  }

  /** Delivers something of its own making. */
  async invent(from, to, type, fields) {
    await this.replay({ from, to, data: JSON.stringify({ v: 1, type, ...fields }) });
  }

  /** Announces a connection that is none of anybody's to all, or to some. */
  async announce(id, members = this.everyone) {
    for (const member of members) await member.core.arrived(id);
    await this.quiet();
  }

  /** Neither hears of the other, nor from it. */
  part(one, other) {
    const apart = (a, b) => [a, b].some(id => belongs(id, one)) && [a, b].some(id => belongs(id, other));
    const before = this.hides;
    this.hides = (a, b) => before(a, b) || apart(a, b);
    return this.drop(({ from, to }) => apart(from, to));
  }

  /** What went over the wire, of a type, from one to another. */
  recorded(type, from, to) {
    return this.log.filter(each => typeOf(each) === type && (!from || each.from === from.id) && (!to || each.to === to.id));
  }

  #rule(rule) {
    this.#rules.unshift(rule);
    return () => {
      this.#rules = this.#rules.filter(each => each !== rule);
    };
  }
}

/** A hello that is whole in form, by somebody without the link. */
export async function helloWithoutLink(participant) {
  const { privateKey, publicKey } = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
  const random = length => toBase64Url(crypto.getRandomValues(new Uint8Array(length)));
  const signature = await crypto.subtle.sign('Ed25519', privateKey, new Uint8Array(8));
  const identity = toBase64Url(new Uint8Array(await crypto.subtle.exportKey('raw', publicKey)));
  const signed = toBase64Url(new Uint8Array(signature));
  return { identity, key: random(32), seq: 1, participant, name: random(40), signature: signed, mac: random(32) };
}

/** One bit of base64url, turned over. */
export function flipped(text, at = Math.floor(text.length / 2)) {
  return text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1);
}

/** Whether that id is of that label: known before the member is made. */
function belongs(id, label) {
  return id.startsWith(`${label}-`);
}

function typeOf({ data }) {
  return JSON.parse(data).type;
}
