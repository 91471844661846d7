// The shape of a camera in the tunnel.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cameraShape } from '../../web/sdk/tunnel.js';

test('a camera is sent in no fewer lines than it is shown in, where it has them, and in no more than twice as many', () => {
  for (const height of [144, 360, 480, 720, 1080]) {
    for (let wanted = 1; wanted <= 1440; wanted += 7) {
      const { active, scaleResolutionDownBy } = cameraShape(height, wanted);
      const lines = height / scaleResolutionDownBy;
      assert.ok(active && lines >= Math.min(height, wanted, 120), `${height} as ${lines} for ${wanted}`);
      assert.ok(lines === height || lines >= wanted, `${height} as ${lines} for ${wanted}`);
      if (wanted >= 120 && scaleResolutionDownBy < 4) assert.ok(lines < 2 * wanted || lines === height && height / 2 < Math.max(wanted, 120));
    }
  }
});

test('one that is not shown is not sent, and full size gets the most bits', () => {
  assert.equal(cameraShape(720, 0).active, false);
  const rates = [90, 180, 360, 720].map((wanted) => cameraShape(720, wanted).maxBitrate);
  assert.deepEqual([...rates].sort((a, b) => a - b), rates);
  assert.equal(cameraShape(720, Infinity).maxBitrate, 2_500_000);
});
