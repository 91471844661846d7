// A server that lies about the tunnel: Ben's way to it goes by a proxy that alters what is said.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { allSee, eventually, startChromium } from './harness/browsers.js';
import { close, pair, rates, TUNNEL } from './harness/pair.js';
import { startProxy } from './harness/proxy.js';
import { Relay } from './harness/relay.js';

let relay, chromium;
before(async () => {
  [relay, chromium] = await Promise.all([Relay.start(TUNNEL), startChromium()]);
});
after(async () => {
  await chromium?.close();
  await relay?.stop();
});

/** Runs two people past a server that lies to Ben; they must stay forwarded, and see each other all the while. */
async function lied(t, server, changes, look) {
  const proxy = await startProxy(changes, server);
  try {
    const { ana, ben } = await pair([chromium, chromium], undefined, proxy.origin);
    await allSee([ana, ben]);
    await look(ana, ben);
    const shown = await rates([ana, ben], 3);
    t.diagnostic(`shown at ${shown.map(rate => rate.toFixed(1))} frames/s`);
    for (const rate of shown) assert.ok(rate >= 5, `${rate} frames/s`);
    assert.deepEqual([await ana.run('path'), await ben.run('path')], ['forwarded', 'forwarded']);
    for (const peer of [ana, ben]) assert.ok(!(await peer.run('log')).some(({ type }) => type === 'path'), 'nobody was told of a tunnel');
    await close(ana, ben);
    proxy.check();
  } finally {
    proxy.close();
  }
}

const errors = async peer => (await peer.run('log')).filter(({ type }) => type === 'error').map(({ detail }) => detail.error);
const says = (peer, code) => eventually(`${peer.name} is told`, async () => (await errors(peer)).find(error => error.code === code), 15_000);

test('a server that alters a description is refused, whichever byte it alters, and it is said', async t => {
  let altered = 0;
  const alter = message => {
    if (message.type !== 'relay') return message;
    const envelope = JSON.parse(message.data);
    if (envelope.type !== 'tunnel') return message;
    altered += 1;
    const at = Math.floor(envelope.box.length / 2);
    envelope.box = envelope.box.slice(0, at) + (envelope.box[at] === 'A' ? 'B' : 'A') + envelope.box.slice(at + 1);
    return { ...message, data: JSON.stringify(envelope) };
  };
  await lied(t, { toClient: alter, toServer: alter }, {}, async (ana, ben) => {
    const error = await Promise.any([says(ana, 'unverified'), says(ben, 'unverified')]);
    t.diagnostic(`it is said: ${error.message}`);
    assert.match(error.message, /could not be verified/);
    assert.ok(altered > 0);
  });
});

test('a server that announces a tunnel of its own making is not listened to', async t => {
  let announced = 0, asked = 0;
  await lied(t, {
    toServer: message => {
      if (message.type === 'tunnel') asked += 1;
      return message;
    },
    toClient: (message, say) => {
      // no tunnel by the server's word, so that whatever is opened is of its making
      if (message.type === 'joined') return { ...message, limits: { ...message.limits, tunnel: false } };
      if (message.type === 'relay' && JSON.parse(message.data).type === 'ready') {
        const box = Buffer.from(JSON.stringify({ description: JSON.stringify({ type: 'offer', id: 'x', sdp: 'v=0', streams: [] }) })).toString('base64url');
        say({ type: 'relay', from: message.from, data: JSON.stringify({ v: 1, type: 'tunnel', counter: 1, box }) });
        say({ type: 'tunnel', peer: message.from, ufrag: 'evilevil', pwd: 'evilevilevilevilevilevil', candidates: ['1 1 udp 1 10.77.0.1 9 typ host'] });
        announced += 1;
      }
      return message;
    },
  }, {}, async (_, ben) => {
    assert.match((await says(ben, 'unverified')).message, /Ana/);
    assert.equal((await ben.run('connections')).length, 1, 'no connection was opened for it');
    assert.ok(announced > 0);
    assert.equal(asked, 0);
  });
});

test('a server that writes lines into its answer, to put its own certificate into the description, is refused', async t => {
  let written = 0;
  await lied(t, {
    toClient: message => {
      if (message.type !== 'tunnel') return message;
      written += 1;
      const mine = `a=fingerprint:sha-256 ${Array(32).fill('AA').join(':')}`;
      return { ...message, candidates: message.candidates.map(candidate => `${candidate}\r\n${mine}`) };
    },
  }, {}, async (ana, ben) => {
    await says(ben, 'tunnel-refused');
    await eventually('both closed what they had opened', async () => {
      const open = await Promise.all([ana, ben].map(async peer => (await peer.run('connections')).filter(({ state }) => state !== 'closed').length));
      return written > 0 && open.every(count => count === 1);
    }, 15_000);
  });
});

test('a tunnel whose far end is not who the description says is refused by the browser, and it is said', async t => {
  await lied(t, {}, {
    // the server cannot do this: it stands for a far end with another certificate
    '/sdk/tunnel.js': [['throughRelay(sdp, await', "throughRelay(sdp.replace(/sha-256 ..:../g, 'sha-256 00:00'), await"]],
  }, async (_, ben) => {
    const error = await says(ben, 'tunnel-refused');
    t.diagnostic(`it is said: ${error.message}`);
  });
});
