// Which path two people take, in virtual time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CROSS_MS, LINGER_MS, OPEN_MS, PATIENCE_MS, PEER_MS, Path, RETRIES, RETRY_MS, RETURN_MS,
} from '../../web/sdk/path.js';

const ANA = { id: 'ana', tunnel: true };
const BEN = { id: 'ben', tunnel: true };

/** One side's path, with all that it did and a clock of its own. `self` leads where it is the greater name. */
function side(self = 'zoe', peer = ANA) {
  const did = [];
  let now = 0;
  const note = (what) => (...args) => void did.push([what, ...args].join(' '));
  const acts = ['open', 'close', 'end', 'attach', 'detach', 'prefer', 'over', 'changed', 'gaveUp'];
  const path = new Path(Object.fromEntries(acts.map((act) => [act, note(act)])));
  const all = {
    path,
    did,
    /** What was done since the last look. */
    done: () => did.splice(0),
    tell: (news) => path.update(now, news),
    /** Lets time pass, waking the path whenever it asked for it. */
    pass(ms) {
      const until = now + ms;
      while (path.deadline <= until) {
        now = Math.max(now, path.deadline);
        path.update(now);
      }
      now = until;
    },
    now: () => now,
    offered: (from) => path.offered(now, from),
    failed: () => path.failed(now),
    ended: (failed) => path.ended(now, failed),
    peerOver: (kind, from = peer.id) => path.peerOver(now, from, kind),
    /** Up to where the forwarded connection is closed. */
    intoTunnel() {
      all.tell({ up: true });
      all.tell({ shown: { tunnel: true, forwarded: false } });
      all.pass(LINGER_MS);
      all.peerOver('forwarded');
      assert.equal(path.kind, 'tunnel');
      return all.done();
    },
  };
  path.update(now, { self, wanted: true, allowed: true, others: 1, roster: [peer], base: true });
  return all;
}

const SEEN = { tunnel: true, forwarded: false };
const BACK = { tunnel: false, forwarded: true };

test('two who meet open the tunnel at once, and only the one who leads offers it', () => {
  assert.deepEqual(side('zoe').done(), ['open ana']);
  const follower = side('abe');
  assert.deepEqual(follower.done(), []);
  assert.equal(follower.offered('ana'), true);
});

for (const [why, news] of [
  ['our setting', { wanted: false }], ["the operator's setting", { allowed: false }],
  ['a third who is connected, though nobody vouches for them', { others: 2 }],
  ['a third on the roster', { roster: [ANA, BEN] }], ['somebody else on the roster', { roster: [] }],
  ['their setting', { roster: [{ id: 'ana', tunnel: false }] }], ['a forwarded connection that is not up', { base: false }],
]) {
  test(`no tunnel is opened, and none accepted, against ${why}`, () => {
    const path = new Path(new Proxy({}, { get: (_, act) => () => assert.fail(`it did ${String(act)}`) }));
    path.update(0, { self: 'zoe', wanted: true, allowed: true, others: 1, roster: [ANA], base: true, ...news });
    if (!('base' in news)) assert.equal(path.offered(0, 'ana'), false);
    assert.equal(path.deadline, Infinity);
  });
}

test('the forwarded connection is closed only when both have seen all of the other over the tunnel', () => {
  const all = side();
  all.done();
  all.tell({ up: true });
  assert.deepEqual(all.done(), ['prefer tunnel']);
  all.pass(1000);
  all.peerOver('forwarded');
  assert.deepEqual(all.done(), [], 'we have not seen all of theirs');
  all.tell({ shown: SEEN });
  assert.deepEqual(all.done(), []);
  all.pass(LINGER_MS);
  assert.deepEqual(all.done(), ['over ana forwarded', 'detach', 'changed tunnel']);
});

test('an offer is answered before our forwarded connection is up, and that one is not closed before it was', () => {
  const all = side('abe');
  all.tell({ base: false });
  assert.equal(all.offered('ana'), true);
  all.tell({ up: true, shown: SEEN });
  all.peerOver('forwarded');
  all.pass(1000);
  assert.deepEqual(all.done(), ['prefer tunnel']);
  all.tell({ base: true });
  all.pass(LINGER_MS);
  assert.deepEqual(all.done(), ['over ana forwarded', 'detach', 'changed tunnel']);
});

test('what appears and goes again before it was kept for a moment is not yet seen', () => {
  const all = side();
  all.tell({ up: true });
  all.tell({ shown: SEEN });
  all.pass(LINGER_MS - 1);
  all.tell({ shown: { tunnel: false, forwarded: false } });
  all.tell({ shown: SEEN });
  all.done();
  all.pass(LINGER_MS - 1);
  assert.deepEqual(all.done(), []);
  all.pass(1);
  assert.deepEqual(all.done(), ['over ana forwarded']);
});

test('until the forwarded connection is closed the path is called forwarded', () => {
  const all = side();
  all.tell({ up: true });
  all.tell({ shown: SEEN });
  all.pass(LINGER_MS);
  assert.equal(all.path.kind, 'forwarded');
  all.peerOver('forwarded');
  assert.equal(all.path.kind, 'tunnel');
});

test('a third who is announced opens the forwarded connection in the same instant, and the tunnel stays meanwhile', () => {
  const all = side();
  all.intoTunnel();
  all.tell({ others: 2 });
  assert.deepEqual(all.done(), ['end false', 'attach', 'prefer forwarded', 'changed forwarded']);
  all.tell({ roster: [ANA, BEN] });
  all.pass(1000);
  assert.deepEqual(all.done(), []);
  all.tell({ base: true, shown: BACK });
  all.pass(LINGER_MS);
  assert.deepEqual(all.done(), ['over ana tunnel']);
  all.peerOver('tunnel');
  assert.deepEqual(all.done(), ['prefer forwarded', 'close']);
});

test('one who never says that they see us again holds the tunnel for a while, and no longer', () => {
  const all = side();
  all.intoTunnel();
  all.tell({ others: 2 });
  all.tell({ base: true, shown: BACK });
  all.pass(LINGER_MS);
  all.done();
  all.pass(PEER_MS - 1);
  assert.deepEqual(all.done(), []);
  all.pass(1);
  assert.deepEqual(all.done(), ['prefer forwarded', 'close']);
});

test('a tunnel whose streams never come back by forwarding is left all the same', () => {
  const all = side();
  all.intoTunnel();
  all.tell({ others: 2 });
  all.tell({ base: true });
  all.done();
  all.pass(RETURN_MS);
  assert.ok(all.done().includes('close'));
});

test('two who remain go back to the tunnel when they have remained for a while, counted anew at each newcomer', () => {
  const all = side();
  all.intoTunnel();
  all.tell({ others: 2 });
  all.tell({ base: true, shown: BACK });
  all.pass(LINGER_MS);
  all.peerOver('tunnel');
  all.tell({ others: 1 });
  all.done();
  all.pass(PATIENCE_MS - 1);
  all.tell({ others: 2 });
  all.tell({ others: 1 });
  all.pass(PATIENCE_MS - 1);
  assert.deepEqual(all.done(), []);
  all.pass(1);
  assert.deepEqual(all.done(), ['open ana']);
});

test('one who joined as a third waits like the others', () => {
  const all = side('zoe');
  all.tell({ others: 2, roster: [ANA, BEN] });
  all.done();
  all.tell({ others: 1, roster: [ANA] });
  all.pass(PATIENCE_MS - 1);
  assert.ok(!all.done().includes('open ana'));
});

test('a tunnel that does not come up is given up in time, and tried again later each time, and not for ever', () => {
  const all = side();
  const opened = [];
  for (let n = 0; n < 100_000; n += 100) {
    if (all.did.includes('open ana')) opened.push(all.now());
    all.done().forEach((each) => each === 'gaveUp' && opened.push('gaveUp'));
    all.pass(100);
  }
  const times = [0];
  for (let n = 0; n < RETRIES; n += 1) times.push(times.at(-1) + OPEN_MS + RETRY_MS * 4 ** n);
  assert.deepEqual(opened.map((at) => (at === 'gaveUp' ? at : Math.floor(at / 200) * 200)), [...times.map((at) => Math.floor(at / 200) * 200), 'gaveUp']);
});

test('another participant starts with a clean record', () => {
  const all = side();
  all.pass(100_000);
  all.tell({ roster: [], others: 0 });
  all.done();
  all.tell({ roster: [BEN], others: 1 });
  assert.deepEqual(all.done(), ['open ben']);
});

test('a tunnel that fails while it is in use opens the forwarded connection, closes, and tells the other', () => {
  const all = side();
  all.intoTunnel();
  all.failed();
  const did = all.done();
  assert.ok(did.indexOf('end true') < did.indexOf('close'), 'while it still has a name');
  assert.ok(did.includes('attach') && did.includes('changed forwarded') && did.includes('close'));
  all.tell({ base: true });
  assert.deepEqual(all.done(), [], 'it is not tried again at once');
  all.pass(RETRY_MS);
  assert.deepEqual(all.done(), ['open ana']);
});

test('a tunnel that fails while both paths are live costs nothing but the tunnel', () => {
  const all = side();
  all.tell({ up: true });
  all.done();
  all.failed();
  const did = all.done();
  assert.ok(did.includes('close') && !did.includes('attach') && !did.includes('detach'));
});

test('an other who never says that they see us leaves us forwarded', () => {
  const all = side();
  all.tell({ up: true });
  all.tell({ shown: SEEN });
  all.pass(LINGER_MS);
  all.done();
  all.pass(CROSS_MS);
  const did = all.done();
  assert.ok(did.includes('end true') && !did.includes('detach'));
  assert.equal(all.path.kind, 'forwarded');
});

test('when the other one leaves, the tunnel closes and the forwarded connection opens for whoever comes next', () => {
  const all = side();
  all.intoTunnel();
  all.tell({ others: 0, roster: [] });
  const did = all.done();
  assert.ok(did.includes('attach') && did.includes('close') && did.includes('changed forwarded'));
  all.tell({ base: true });
  all.tell({ others: 1, roster: [BEN] });
  assert.deepEqual(all.done(), ['open ben']);
});

test('what was said about an earlier tunnel does not count for this one', () => {
  const all = side();
  all.peerOver('forwarded');
  all.path.agreed();
  all.intoTunnelWithout = () => {
    all.tell({ up: true });
    all.tell({ shown: SEEN });
    all.pass(LINGER_MS);
  };
  all.intoTunnelWithout();
  assert.equal(all.path.kind, 'forwarded');
  all.peerOver('forwarded', 'somebody else');
  assert.equal(all.path.kind, 'forwarded');
  all.peerOver('forwarded');
  assert.equal(all.path.kind, 'tunnel');
});

test('an end that is not a failure takes us back and does not count against the tunnel', () => {
  const all = side();
  all.intoTunnel();
  all.ended(false);
  assert.deepEqual(all.done(), ['attach', 'prefer forwarded', 'changed forwarded']);
  all.tell({ base: true, shown: BACK });
  all.pass(LINGER_MS);
  all.peerOver('tunnel');
  all.done();
  all.pass(RETRY_MS);
  assert.deepEqual(all.done(), ['open ana']);
});

test('an offer that comes while ours stands for another tunnel replaces what is being opened', () => {
  const all = side('abe');
  all.offered('ana');
  all.done();
  assert.equal(all.offered('ana'), true);
  assert.deepEqual(all.done(), ['close']);
});
