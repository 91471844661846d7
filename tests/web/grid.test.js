// The stage keeps its shape from one person to twelve and beyond, and always fits.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pack, present, shapeOf } from '../../web/page/grid.js';

const STAGES = [
  { width: 1240, height: 650, gap: 10 }, { width: 860, height: 650, gap: 10 }, { width: 374, height: 690, gap: 6 },
  { width: 760, height: 300, gap: 6 }, { width: 2500, height: 1250, gap: 10 }, { width: 700, height: 700, gap: 10 },
];
const COUNTS = Array.from({ length: 25 }, (_, n) => n + 1);

function inside(boxes, { width, height }) {
  const fits = ({ x, y, ...box }) => x >= 0 && y >= 0 && x + box.width <= width + 1 && y + box.height <= height + 1;
  return boxes.every(fits);
}

function apart(boxes) {
  return boxes.every((a, i) => boxes.every((b, j) =>
    i === j || a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y));
}

test('every tile has the shape of its stage, however many there are', () => {
  for (const stage of STAGES) {
    for (const count of COUNTS) {
      const boxes = pack(count, stage);
      assert.equal(boxes.length, count);
      for (const { width, height } of boxes) {
        assert.ok(Math.abs(width - height * shapeOf(stage)) <= 2, `${width} x ${height} for ${count}`);
        assert.deepEqual([width, height], [boxes[0].width, boxes[0].height]);
      }
    }
  }
});

test('tiles stay on the stage and never touch, also beside a shared screen', () => {
  for (const stage of STAGES) {
    for (const count of COUNTS) {
      const boxes = pack(count, stage);
      assert.ok(inside(boxes, stage) && apart(boxes), `${count} on ${stage.width} x ${stage.height}`);
      const { screen, tiles } = present(count, stage);
      assert.ok(inside([screen, ...tiles], stage) && apart([screen, ...tiles]), `${count} beside a screen`);
      assert.ok(tiles.every((tile) => tile.width < screen.width || tile.height < screen.height));
    }
  }
});

test('no other number of columns would give larger tiles', () => {
  for (const stage of STAGES) {
    const shape = shapeOf(stage);
    for (const count of COUNTS) {
      const [{ width }] = pack(count, stage);
      for (let columns = 1; columns <= count; columns += 1) {
        const rows = Math.ceil(count / columns);
        const across = (stage.width - stage.gap * (columns - 1)) / columns;
        const down = ((stage.height - stage.gap * (rows - 1)) / rows) * shape;
        assert.ok(width >= Math.floor(Math.min(across, down)) * 0.998 - 1, `${count} in ${columns} columns`);
      }
    }
  }
});

test('one more person never makes anybody larger', () => {
  for (const stage of STAGES) {
    for (const count of COUNTS.slice(1)) assert.ok(pack(count, stage)[0].width <= pack(count - 1, stage)[0].width);
  }
});

test('a last row that is not full is centred', () => {
  const stage = { width: 1240, height: 650, gap: 10 };
  const boxes = pack(5, stage);
  const last = boxes.filter(({ y }) => y === boxes[4].y);
  const left = last[0].x;
  const right = stage.width - (last.at(-1).x + last.at(-1).width);
  assert.ok(Math.abs(left - right) <= 1);
});

test('a stage without room holds nothing rather than nonsense', () => {
  assert.deepEqual(pack(3, { width: 0, height: 0, gap: 10 }), []);
  assert.deepEqual(pack(0, STAGES[0]), []);
});
