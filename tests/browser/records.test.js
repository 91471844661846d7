// What is left of a call: one row of the documented columns, and metrics that name nobody.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test, { after, before } from 'node:test';
import { allSee, eventually, Peer, startChromium } from './harness/browsers.js';
import { HTTP, Relay } from './harness/relay.js';

const COLUMNS = ['id', 'ended_day', 'duration_minutes', 'peak_participants', 'end_reason', 'expires_at'];
const DAY = 24 * 60 * 60;

let relay, chromium;
before(async () => {
  [relay, chromium] = await Promise.all([Relay.start({ SOTTO_LOG: 'trace' }), startChromium()]);
});
after(async () => {
  await chromium?.close();
  await relay?.stop();
});

test('a call leaves one row of six columns, and neither log nor metrics name a call, a person or an address', async t => {
  const peers = await Promise.all([Peer.open(chromium), Peer.open(chromium)]);
  const { host, invite } = await peers[0].run('newLink');
  await peers[0].join(host, 'Anastasia', { tone: 500, colour: '#c00000' });
  await peers[1].join(invite, 'Benedikt', { tone: 900, colour: '#00c000' });
  await allSee(peers);
  const during = await relay.metrics();
  assert.equal(during.get('sotto_calls'), 1);
  assert.equal(during.get('sotto_participants'), 2);
  const canaries = [
    'Anastasia', 'Benedikt', new URL(host).hash.slice(1), new URL(invite).hash.slice(1), ...peers.map(peer => peer.id), '10.77.0.1',
    ...(await Promise.all(peers.map(peer => peer.run('connections')))).flat().flatMap(({ sdp }) => /a=ice-ufrag:(\S+)[^]*?a=ice-pwd:(\S+)/.exec(sdp).slice(1)),
  ];
  const clean = (what, text) => {
    for (const canary of canaries) {
      for (const form of [canary, Buffer.from(canary).toString('hex'), Buffer.from(canary).toString('base64').replace(/=+$/, '')]) {
        assert.ok(!text.includes(form), `${what} holds ${form}`);
      }
    }
  };
  clean('/metrics in the call', await relay.metricsText());
  assert.deepEqual(relay.tables(), { call_log: [] }, 'nothing is written while the call goes on');
  for (const peer of peers) await peer.run('leave');
  const rows = await eventually('the row', () => {
    const { call_log } = relay.tables();
    return call_log.length > 0 && call_log;
  });
  assert.equal(rows.length, 1);
  assert.deepEqual(Object.keys(rows[0]), COLUMNS);
  const [{ duration_minutes, peak_participants, expires_at, ended_day, end_reason }] = rows;
  assert.deepEqual([duration_minutes, peak_participants], [1, 2]);
  t.diagnostic(JSON.stringify(rows[0]));
  assert.match(ended_day, /^\d{4}-\d{2}-\d{2}$/);
  assert.match(end_reason, /^[a-z-]+$/);
  const left = expires_at - Date.now() / 1000;
  assert.ok(left > 6 * DAY && left <= 8 * DAY, `the row expires in ${left} s`);
  const told = await fetch(`${HTTP}/transparency`).then(response => response.text());
  for (const column of COLUMNS) assert.ok(told.includes(column), `/transparency does not tell of ${column}`);
  await relay.end();
  assert.equal(relay.code, 0);
  clean('the log', relay.output);
  clean('the store', readFileSync(relay.store, 'latin1'));
});
