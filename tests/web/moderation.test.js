// The host's controls as the page sees them, with an encryption that the test plays.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Moderation } from '../../web/sdk/moderation.js';
import { Participant } from '../../web/sdk/participant.js';

class Encryption extends EventTarget {
  did = [];
  constructor(isHost) {
    super();
    this.isHost = isHost;
    for (const method of ['waiting', 'knocked', 'knockEnded', 'lock', 'admit', 'deny', 'remove', 'muteAll']) {
      this[method] = async (...args) => void this.did.push([method, ...args]);
    }
  }
  knocks = 0;
  async knock(id) {
    return `knock ${(this.knocks += 1)} of ${id}`;
  }
  says(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function bench(isHost = false) {
  const encryption = new Encryption(isHost);
  const ana = new Participant('ana', 'Ana');
  const self = new Participant('me', 'Me', true);
  const did = [];
  const moderation = new Moderation(encryption, {
    send: (message) => did.push(['send', message]),
    participant: (id) => (id === 'ana' ? ana : undefined),
    self: () => self,
    mute: async () => void did.push(['mute']),
    removed: ({ code }) => did.push(['ended', code]),
    emit: (type, value) => did.push([type, value]),
  });
  return { encryption, moderation, did, ana, self };
}

test("only the holder of the host link can use the host's controls, and is told so", async () => {
  const guest = bench(false);
  for (const act of ['lock', 'admit', 'deny', 'remove', 'muteAll']) {
    await assert.rejects(async () => guest.moderation[act]('x'), { code: 'host' });
  }
  assert.deepEqual(guest.encryption.did, []);
  const host = bench(true);
  await host.moderation.lock(true);
  await host.moderation.remove(host.ana);
  await host.moderation.admit('p7');
  assert.deepEqual(host.encryption.did, [['lock', true], ['remove', 'ana'], ['admit', 'p7']]);
});

test("the host's word goes to the server, and the page is told what it says", () => {
  const { encryption, moderation, did, ana, self } = bench(true);
  encryption.says('host-state', { state: { counter: 1 } });
  assert.deepEqual(did.shift(), ['send', { type: 'host', state: { counter: 1 } }]);
  encryption.says('host', { present: 'ana', locked: true, counter: 1, mine: false });
  assert.deepEqual(did.shift(), ['host', { host: ana, locked: true }]);
  encryption.says('host', { present: null, locked: false, counter: 2, mine: true });
  assert.deepEqual([moderation.host, moderation.locked], [self, false]);
  encryption.says('host', { present: null, locked: false, counter: 2, mine: false });
  assert.equal(moderation.host, null);
});

test('who knocks is shown once, until they are let in or go', () => {
  const { encryption, moderation } = bench();
  moderation.knocked('knock', { type: 'knock', id: 'p7', data: 'x' });
  moderation.knocked('knock-end', { type: 'knock-end', id: 'p7' });
  assert.deepEqual(encryption.did, [['knocked', 'p7', 'x'], ['knockEnded', 'p7']]);
  encryption.says('knock', { participant: 'p7', name: 'Zoe' });
  encryption.says('knock', { participant: 'p7', name: 'Zoe' });
  assert.deepEqual(moderation.knocks, [{ participant: 'p7', name: 'Zoe' }]);
  encryption.says('knock-end', { participant: 'p7' });
  assert.deepEqual(moderation.knocks, []);
});

test('whoever waits knocks again and again until they are in; a host does not knock', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.after(() => mock.timers.reset());
  const guest = bench();
  await guest.moderation.waiting('me', { counter: 3 });
  mock.timers.tick(5_000);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(guest.did.map(([, { data }]) => data), ['knock 1 of me', 'knock 2 of me']);
  guest.moderation.reset();
  mock.timers.tick(60_000);
  assert.equal(guest.encryption.knocks, 2);
  const host = bench(true);
  await host.moderation.waiting('me', { counter: 3 });
  assert.deepEqual([host.encryption.did, host.encryption.knocks], [[['waiting', 'me', { counter: 3 }]], 0]);
});

test('all mute themselves when the host asks, and when nobody else does', async () => {
  const { encryption, moderation, did, ana } = bench();
  await moderation.muted(ana);
  assert.deepEqual(did, []);
  encryption.says('host', { present: 'ana', locked: false, counter: 1, mine: false });
  did.length = 0;
  await moderation.muted(ana);
  assert.deepEqual(did, [['mute'], ['mute', { by: ana }]]);
});

test('whom the host removes is told why the call ended', () => {
  const { encryption, did } = bench();
  encryption.says('removed', {});
  assert.deepEqual(did, [['ended', 'removed']]);
});
