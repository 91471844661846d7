// A call in virtual time: members, a server that does as told, and a clock that moves only when a test says so.

import { webcrypto } from 'node:crypto';
import { Core } from '../../web/e2ee/core.js';
import { newLink } from '../../web/e2ee/link.js';

/** WebCrypto, with objects of its own, so that a test may listen in. */
export const crypto = /** @type {Crypto} */ ({
  getRandomValues: array => webcrypto.getRandomValues(array),
  subtle: Object.fromEntries(
    ['decrypt', 'deriveBits', 'deriveKey', 'digest', 'encrypt', 'exportKey', 'generateKey', 'importKey', 'sign', 'verify']
      .map(name => [name, (...args) => webcrypto.subtle[name](...args)]),
  ),
});

// All members of a call stretch the same password for the same code: once is enough for the lot of them.
const { importKey, deriveBits } = crypto.subtle;
const passwords = new WeakMap();
const stretched = new Map();

crypto.subtle.importKey = async (format, data, algorithm, ...rest) => {
  const key = await importKey(format, data, algorithm, ...rest);
  if (algorithm === 'PBKDF2') passwords.set(key, Buffer.from(data).toString('hex'));
  return key;
};

crypto.subtle.deriveBits = async (algorithm, key, length) => {
  if (!passwords.has(key)) return deriveBits(algorithm, key, length);
  const { salt, iterations, hash } = algorithm;
  const name = [passwords.get(key), Buffer.from(salt).toString('hex'), iterations, hash, length].join();
  if (!stretched.has(name)) stretched.set(name, deriveBits(algorithm, key, length));
  return (await stretched.get(name)).slice(0);
};

const ORIGIN = 'https://sotto.test';

/** A clock with timers that fire in order. */
export class Clock {
  time = 0;
  timers = [];
  next = 0;

  after(milliseconds, task) {
    const timer = { at: this.time + milliseconds, order: this.next++, task };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter(each => each !== timer);
    };
  }

  /** The earliest timer that is due by then. */
  due(by) {
    const ready = this.timers.filter(timer => timer.at <= by);
    ready.sort((a, b) => a.at - b.at || a.order - b.order);
    const first = ready[0];
    if (first) this.timers = this.timers.filter(each => each !== first);
    return first;
  }
}

/** One member of the call, with all that its core told it. */
export class Member {
  events = [];
  outbox = [];

  constructor(world, label) {
    this.world = world;
    this.label = label;
  }

  static async make(world, label, link, options = { tunnel: true }) {
    const member = new Member(world, label);
    world.seen.add(member);
    member.core = await Core.open(
      {
        crypto,
        now: () => world.clock.time,
        after: (milliseconds, task) => world.clock.after(milliseconds, task),
        emit: (type, detail) => member.emit(type, detail),
      },
      link,
      label,
      options,
    );
    return member;
  }

  emit(type, detail) {
    if (type === 'send') this.outbox.push(detail);
    else this.events.push({ type, at: this.world.clock.time, ...detail });
  }

  /** The last event of a type, or undefined. */
  last(type) {
    return this.events.findLast(event => event.type === type);
  }

  all(type) {
    return this.events.filter(event => event.type === type);
  }

  get names() {
    return (this.last('roster')?.participants ?? []).map(({ name }) => name).sort();
  }

  forget() {
    this.events.length = 0;
  }
}

/** The server, honest unless a test gives it a `meddle`. */
export class World {
  clock = new Clock();
  members = new Map();
  /** All members that there ever were. */
  seen = new Set();
  ids = 0;
  /** Everything relayed, as {from, to, data, at}. */
  log = [];
  /** Sees {from, to, data} for each delivery; returns the deliveries to make instead. */
  meddle = delivery => [delivery];
  /** Whether the server keeps the one connection from the other's eyes. */
  hides = () => false;

  static async open() {
    const world = new this();
    world.links = await newLink(crypto, ORIGIN);
    return world;
  }

  /** Adds a member with that name and lets the call settle. */
  async join(label, link = this.links.invite, settle = 700) {
    const member = await Member.make(this, label, link);
    await this.connect(member);
    if (settle) await this.pass(settle);
    return member;
  }

  /** Connects a member, for the first time or again; the others are told that its old connection left, or not yet. */
  async connect(member, { told = true } = {}) {
    const old = member.id;
    this.members.delete(old);
    if (old && told) for (const other of this.members.values()) void other.core.departed(old);
    await this.enter(member, `${member.label}-${this.ids++}`);
  }

  /** Lets a member in under that id. */
  async enter(member, id) {
    member.id = id;
    const others = [...this.members.keys()];
    this.members.set(id, member);
    await member.core.joined(id, others.filter(other => !this.hides(other, id)));
    for (const other of others.filter(other => !this.hides(id, other))) void this.members.get(other).core.arrived(id);
    await this.quiet();
  }

  /** Makes somebody wait outside, and brings its knock to all who are in; what it said. */
  async wait(member, state = this.stateOfHost) {
    member.id = `${member.label}-${this.ids++}`;
    await member.core.waiting(member.id, state);
    const data = await member.core.knock(member.id);
    for (const other of this.members.values()) other.core.knocked(member.id, data);
    await this.quiet();
    return data;
  }

  /** The newest host state that the server was sent. */
  get stateOfHost() {
    const states = [...this.seen].flatMap(member => member.all('host-state')).map(({ state }) => state);
    return states.reduce((best, state) => (best && best.counter >= state.counter ? best : state), null);
  }

  /** The server says that a member left. */
  async leave(member) {
    this.members.delete(member.id);
    for (const other of this.members.values()) void other.core.departed(member.id);
    await this.quiet();
  }

  /** Carries messages until nobody has anything to say or do. */
  async quiet() {
    for (let rounds = 0; rounds < 200; rounds++) {
      for (const member of this.everyone) await member.core.idle();
      let moved = false;
      for (const [id, member] of [...this.members]) {
        for (const { to, data } of member.outbox.splice(0)) {
          moved = true;
          this.carry(id, to, data);
        }
      }
      const fired = this.clock.due(this.clock.time);
      if (fired) fired.task();
      if (!moved && !fired) return;
    }
    throw new Error('the call never became quiet');
  }

  get everyone() {
    return [...this.members.values()];
  }

  carry(from, to, data) {
    const receivers = to === undefined ? [...this.members.keys()].filter(id => id !== from) : [to];
    for (const receiver of receivers) {
      this.log.push({ from, to: receiver, data, at: this.clock.time });
      for (const delivery of this.meddle({ from, to: receiver, data })) {
        this.members.get(delivery.to)?.core.receive(delivery.from, delivery.data);
      }
    }
  }

  /** Lets time pass. */
  async pass(milliseconds) {
    const end = this.clock.time + milliseconds;
    await this.quiet();
    for (let timer = this.clock.due(end); timer; timer = this.clock.due(end)) {
      this.clock.time = Math.max(this.clock.time, timer.at);
      timer.task();
      await this.quiet();
    }
    this.clock.time = end;
    await this.quiet();
  }
}

/** A VP8 frame with recognisable content. */
export function vp8(isKey, content = 'plaintext that nobody else may see') {
  const head = isKey ? [0x50, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00] : [0x51, 0x01, 0x00];
  return new Uint8Array([...head, ...new TextEncoder().encode(content)]);
}

export const opus = content => new TextEncoder().encode(content ?? 'a spoken word');

/** Points a slot of the receiver at a stream of the sender. */
export function point(receiver, sender, stream = 'camera', id = `${sender.label}-${stream}`) {
  const slot = receiver.core.slot(id);
  slot.point(slot.epoch + 1, sender.id, stream);
  return slot;
}

/** Sends one camera frame from sender to receiver's slot; what is rendered, or null. */
export async function film(sender, slot, { isKey = true, content, codec = 'vp8', stream = 'camera' } = {}) {
  const frame = codec === 'vp8' ? vp8(isKey, content) : opus(content);
  const sealed = await sender.core.protect(stream, codec, frame);
  return slot.open(codec, sealed, isKey);
}

export const text = bytes => (bytes ? new TextDecoder().decode(bytes) : null);
