// One member of a call as the page has it, in virtual time, told by another process what happens: a line of JSON on
// standard input for each thing, answered by a line with what came of it.

import { createInterface } from 'node:readline';
import { Core } from '../../web/e2ee/core.js';
import { Clock, crypto } from './world.js';

const clock = new Clock();
let core = null;
let sent = [];
let told = [];

/** @type {Record<string, (request: any) => any>} */
const methods = {
  async open({ link, name }) {
    const after = (milliseconds, task) => clock.after(milliseconds, task);
    core = await Core.open({ crypto, now: () => clock.time, after, emit }, link, name);
    return core.identity;
  },
  joined: ({ participant, others }) => core.joined(participant, others),
  arrived: ({ participant }) => core.arrived(participant),
  departed: ({ participant }) => core.departed(participant),
  receive: ({ from, data }) => core.receive(from, data),
  send: ({ kind, body }) => core.send(kind, body),
  lock: ({ on }) => core.moderation.lock(on),
  admit: ({ participant }) => core.moderation.admit(participant),
  remove: ({ participant }) => core.moderation.remove(participant),
  muteAll: () => core.moderation.muteAll(),
  close: () => core.close(),
  async protect({ stream, codec, frame }) {
    const sealed = await core.protect(stream, codec, new Uint8Array(Buffer.from(frame, 'hex')));
    return sealed && Buffer.from(sealed).toString('hex');
  },
  async render({ participant, stream, codec, sealed }) {
    const slot = core.slot(`${participant} ${stream}`);
    if (slot.participant !== participant) slot.point(slot.epoch + 1, participant, stream);
    const opened = await slot.open(codec, new Uint8Array(Buffer.from(sealed, 'hex')), true);
    return opened && Buffer.from(opened).toString('hex');
  },
  counters: () => core.counters,
  nothing: () => undefined,
};

function emit(type, detail) {
  if (type === 'send') sent.push(detail);
  else told.push({ type, ...detail });
}

/** Everything that is due by then happens, in order. */
async function advance(until) {
  for (let timer = clock.due(until); timer; timer = clock.due(until)) {
    clock.time = Math.max(clock.time, timer.at);
    timer.task();
    await core.idle();
  }
  clock.time = until;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { at, method, ...request } = JSON.parse(line);
  if (core) await advance(at);
  else clock.time = at;
  const result = await methods[method](request);
  await core.idle();
  await advance(at);
  const next = Math.min(...clock.timers.map(timer => timer.at));
  console.log(JSON.stringify({ result, sent, told, next: Number.isFinite(next) ? next : null }));
  [sent, told] = [[], []];
}
