// The shape of what a camera sends.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cameraLayers, kindOf } from '../../web/sdk/transport.js';

test('layers go from small to large, with bitrates that rise', () => {
  for (const height of [144, 180, 270, 360, 480, 540, 720, 1080]) {
    const layers = cameraLayers(height);
    assert.deepEqual(layers.map(({ rid }) => rid), ['q', 'h', 'f']);
    assert.deepEqual(layers.map(({ scaleResolutionDownBy }) => scaleResolutionDownBy), [4, 2, 1]);
    for (const [small, large] of [[0, 1], [1, 2]]) {
      assert.ok(layers[small].maxBitrate < layers[large].maxBitrate);
    }
    assert.ok(layers[2].active, 'the picture itself is always sent');
  }
});

test('no layer is sent that would have fewer than 120 lines', () => {
  for (let height = 120; height <= 1080; height += 1) {
    for (const { active, scaleResolutionDownBy } of cameraLayers(height)) {
      assert.ok(!active || height / scaleResolutionDownBy >= 120, `${height} / ${scaleResolutionDownBy}`);
    }
  }
});

test('sound and pictures are told apart', () => {
  const kinds = ['microphone', 'camera', 'screen', 'screen-audio'].map(kindOf);
  assert.deepEqual(kinds, ['audio', 'video', 'video', 'audio']);
});
