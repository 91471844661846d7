// Two paths, one picture: nobody is heard twice, and nothing is shown before it can be.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reception } from '../../web/sdk/reception.js';

const tick = () => new Promise((resolve) => setImmediate(resolve));

/** A reception of Ana's camera and microphone; `present()` lets what is waited for be seen. */
function bench() {
  const did = [];
  const waiting = [];
  const tracks = {};
  const reception = new Reception({
    show: ({ stream }, track) => did.push(track ? `${stream} ${track.name}` : `${stream} none`),
    presented: (kind, track, signal) => new Promise((resolve) => waiting.push({ track, signal, resolve })),
    moved: () => {
      const heard = Object.values(tracks).filter(({ stream, enabled }) => stream === 'microphone' && enabled);
      assert.ok(heard.length <= 1, `both are heard: ${heard.map(({ name }) => name)}`);
    },
  });
  const arrive = (stream, kind) => {
    const track = (tracks[`${stream} ${kind}`] ??= { name: kind, stream, enabled: true });
    reception.arrived({ participant: 'ana', stream }, kind, track);
    return track;
  };
  const gone = (stream, kind) => reception.gone({ participant: 'ana', stream }, kind);
  const present = async () => {
    for (const { resolve, signal } of waiting.splice(0)) if (!signal.aborted) resolve();
    await tick();
  };
  const via = (stream) => reception.via({ participant: 'ana', stream });
  return { reception, did, done: () => did.splice(0), tracks, arrive, gone, present, via };
}

test('what is forwarded and authenticated is shown at once, where nothing else is', () => {
  const { arrive, done } = bench();
  arrive('camera', 'forwarded');
  assert.deepEqual(done(), ['camera forwarded']);
});

test('the tunnel takes over only when it is preferred and its track was presented', async () => {
  const { reception, arrive, done, present, via } = bench();
  arrive('camera', 'forwarded');
  arrive('camera', 'tunnel');
  await present();
  assert.deepEqual(done(), ['camera forwarded']);
  reception.prefer('tunnel');
  assert.equal(via('camera'), 'forwarded');
  await present();
  assert.deepEqual(done(), ['camera tunnel']);
  assert.equal(via('camera'), 'tunnel');
});

test('sound changes over in one task: the new one is on and the old one off, and never both', async () => {
  const { reception, arrive, present } = bench();
  const old = arrive('microphone', 'forwarded');
  const young = arrive('microphone', 'tunnel');
  assert.deepEqual([old.enabled, young.enabled], [true, false]);
  reception.prefer('tunnel');
  await present();
  assert.deepEqual([old.enabled, young.enabled], [false, true]);
  reception.prefer('forwarded');
  await present();
  assert.deepEqual([old.enabled, young.enabled], [true, false]);
});

test('forwarded sound that turns up while the tunnel is heard stays silent until it is its turn', async () => {
  const { reception, arrive, present, tracks } = bench();
  reception.prefer('tunnel');
  arrive('microphone', 'tunnel');
  await present();
  arrive('microphone', 'forwarded');
  assert.deepEqual([tracks['microphone tunnel'].enabled, tracks['microphone forwarded'].enabled], [true, false]);
});

test('a picture goes on behind its successor, so that elements can be exchanged without a gap', async () => {
  const { reception, arrive, present } = bench();
  const old = arrive('camera', 'forwarded');
  arrive('camera', 'tunnel');
  reception.prefer('tunnel');
  await present();
  assert.equal(old.enabled, true);
});

test('closing the path that was left changes nothing, closing the one in use falls back to the other', async () => {
  const { reception, arrive, present, done } = bench();
  for (const stream of ['camera', 'microphone']) {
    arrive(stream, 'forwarded');
    arrive(stream, 'tunnel');
  }
  reception.prefer('tunnel');
  await present();
  done();
  reception.lost('forwarded');
  assert.deepEqual(done(), []);
  arrive('camera', 'forwarded');
  reception.lost('tunnel');
  assert.deepEqual(done(), ['camera forwarded', 'microphone none']);
});

test('a move that is called off leaves what was shown', async () => {
  const { reception, arrive, present, done, via } = bench();
  arrive('camera', 'forwarded');
  arrive('camera', 'tunnel');
  reception.prefer('tunnel');
  reception.prefer('forwarded');
  await present();
  assert.equal(via('camera'), 'forwarded');
  assert.deepEqual(done(), ['camera forwarded']);
});

test('a track that is said again to be trusted is shown again', () => {
  const { arrive, done } = bench();
  arrive('camera', 'forwarded');
  arrive('camera', 'forwarded');
  assert.deepEqual(done(), ['camera forwarded', 'camera forwarded']);
});
