// A page of somebody else's that uses the SDK straight from the relay.
import assert from 'node:assert/strict';
import http from 'node:http';
import test, { after, before } from 'node:test';
import { allSee, Peer, sameCode, startChromium, startFirefox } from './harness/browsers.js';
import { HTTP, Relay } from './harness/relay.js';

const PAGE = '127.0.0.1:8090';

let relay, chromium, firefox, server;
before(async () => {
  server = http.createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>Elsewhere</title>'));
  server.listen(8090, '127.0.0.1');
  const env = { SOTTO_HOST: `127.0.0.1:8080,${PAGE}` };
  [relay, chromium, firefox] = await Promise.all([Relay.start(env), startChromium(), startFirefox()]);
});
after(async () => {
  await Promise.allSettled([chromium?.close(), firefox?.close()]);
  await relay?.stop();
  server?.close();
});

test('a page of another site that the relay answers for places a call with the SDK from the relay', async () => {
  const peers = [await Peer.open(chromium, `http://${PAGE}`), await Peer.open(firefox, `http://${PAGE}`)];
  for (const peer of peers) await peer.page.evaluate(origin => { window.relayOrigin = origin; }, HTTP);
  const { host, invite } = await peers[0].run('newLink');
  assert.ok(invite.startsWith(HTTP), 'links lead to the relay');
  await peers[0].join(host, 'Ana', { tone: 500, colour: '#c00000' });
  await peers[1].join(invite, 'Ben', { tone: 900, colour: '#00c000' });
  await allSee(peers);
  await sameCode(peers);
  await Promise.all(peers.map(peer => peer.close()));
});
