// Two people who meet in a call that may become a tunnel, and what is asked of them in the tests of it.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, isColour, Peer } from './browsers.js';

/** A relay that allows the tunnel, and answers for the proxy's name too. */
export const TUNNEL = { SOTTO_TUNNEL: 'on', SOTTO_HOST: '127.0.0.1:8080,127.0.0.1:8081' };
/** Milliseconds for which two must have remained; ten seconds for people, who do not come and go twenty times. */
const patience = 1000;
export const ANA = { tone: 500, colour: '#c00000', patience };
export const BEN = { tone: 900, colour: '#00c000', patience };
export const CLEO = { tone: 1400, colour: '#0000c0', patience };
/** Milliseconds of sound that a browser may have buffered between its network and an analyser, on a busy machine. */
const UNDER_WAY = 200;
const TONES = [500, 900, 1400];

/** Ana and Ben, both in the call. */
export async function pair(browsers, options = [{}, {}], origin = undefined) {
  const [ana, ben] = await Promise.all(browsers.map((browser, n) => Peer.open(browser, n === 1 ? origin : undefined)));
  const { host, invite } = await ana.run('newLink');
  await ana.join(host, 'Ana', { ...ANA, ...options[0] });
  await ben.join(origin ? invite.replace(/^https?:\/\/[^/]+/, origin) : invite, 'Ben', { ...BEN, ...options[1] });
  return { ana, ben, host, invite };
}

export const close = (...peers) => Promise.all(peers.map(peer => peer.close()));

export function inTunnel(peers, milliseconds = 20_000) {
  return Promise.all(peers.map(peer => eventually(`${peer.name} is in the tunnel`, async () => (await peer.run('path')) === 'tunnel', milliseconds)
    .catch(async error => assert.fail(`${error.message}: ${await told(peer)}`))));
}

export function isForwarded(peers, milliseconds = 15_000) {
  return Promise.all(peers.map(peer => eventually(`${peer.name} is forwarded`, async () => (await peer.run('path')) === 'forwarded', milliseconds)));
}

/** The events of a peer that help to see what went wrong. */
export async function told(peer) {
  const log = (await peer.run('log')).filter(({ type }) => ['error', 'path', 'state', 'track'].includes(type));
  const brief = log.slice(-30).map(({ at, type, detail }) => [Math.round(at) % 1_000_000, type, detail.path ?? detail.error?.message ?? detail.state ?? `${detail.source} ${detail.track}`].join(' '));
  return JSON.stringify([brief, (await peer.run('connections')).map(({ state }) => state), await peer.run('remotes')]);
}

export function hears(peer, other) {
  let levels;
  return eventually(`${peer.name} hears ${other.name}`, async () => {
    levels = await peer.run('levels', other.id, TONES);
    return levels?.[TONES.indexOf(other.tone)] > -50 && levels.every((level, n) => TONES[n] === other.tone || level < levels[TONES.indexOf(other.tone)] - 25);
  }, 4000).catch(error => assert.fail(`${error.message}: dB at ${TONES} Hz are ${levels}`));
}

/** Nobody was heard over two paths at once; what one path still had under way when the other began is over at once. */
export async function heardOnce(peer, t) {
  const { times, overlap } = await peer.run('doubled');
  t.diagnostic(`${peer.name}: sound of both paths for ${overlap.toFixed()} ms at most`);
  assert.deepEqual(times, [], `${peer.name} could have heard somebody twice`);
  assert.ok(overlap < UNDER_WAY, `${peer.name} heard somebody twice for ${overlap} ms`);
}

/** Frames a second that each one is shown of the other, over some seconds. */
export async function rates(peers, seconds) {
  const since = await Promise.all(peers.map(peer => peer.run('now')));
  await sleep(seconds * 1000);
  return Promise.all(peers.map(async (peer, n) => {
    const frames = await peer.run('frames', peers[1 - n].id, since[n]);
    assert.ok(frames.every(({ rgb }) => isColour(rgb, peers[1 - n].colour)), `${peer.name} sees another colour`);
    return frames.length / seconds;
  }));
}
