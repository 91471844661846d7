// Where tiles go: pure arithmetic, so that a test can hold it to its promises. All tiles of a stage have one size
// and one shape; the shape depends on the stage alone, so that people who come and go never distort the others.

/**
 * @typedef {{x: number, y: number, width: number, height: number}} Box
 * @typedef {{width: number, height: number, gap: number}} Stage
 */

/** Wide stages show people as cameras see them; tall ones (phones) in squares, which waste less of the width. */
const WIDE = 16 / 9;
const SQUARE = 1;
/** Part of a wide stage that people keep beside a shared screen, and its limits in pixels. */
const STRIP = { part: 0.2, least: 148, most: 300 };

/**
 * The shape of every tile on a stage.
 * @param {{width: number, height: number}} stage
 */
export function shapeOf({ width, height }) {
  return width >= height ? WIDE : SQUARE;
}

/**
 * Boxes for `count` tiles, as large as the stage allows, rows centred.
 * @param {number} count
 * @param {Stage} stage
 * @param {number} [shape] Width over height.
 * @param {number} [most] Pixels that a tile may be wide.
 * @returns {Box[]}
 */
export function pack(count, stage, shape = shapeOf(stage), most = Infinity) {
  const { width, height, gap } = stage;
  if (count === 0 || width <= 0 || height <= 0) return [];
  let best = { columns: 1, tile: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const across = (width - gap * (columns - 1)) / columns;
    const down = ((height - gap * (rows - 1)) / rows) * shape;
    const tile = Math.min(across, down);
    // Among equals, the one with fewer empty places looks calmer.
    if (tile > best.tile * 1.001) best = { columns, tile };
  }
  const across = Math.min(best.tile, most);
  const tile = { width: Math.max(1, Math.floor(across)), height: Math.max(1, Math.floor(across / shape)) };
  const rows = Math.ceil(count / best.columns);
  const top = (height - rows * tile.height - (rows - 1) * gap) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / best.columns);
    const inRow = Math.min(best.columns, count - row * best.columns);
    const left = (width - inRow * tile.width - (inRow - 1) * gap) / 2;
    return {
      x: Math.round(left + (index - row * best.columns) * (tile.width + gap)),
      y: Math.round(top + row * (tile.height + gap)),
      ...tile,
    };
  });
}

/**
 * A shared screen large, and the people beside it or, on a tall stage, below it.
 * @param {number} count
 * @param {Stage} stage
 * @returns {{screen: Box, tiles: Box[]}}
 */
export function present(count, stage) {
  const { width, height, gap } = stage;
  const shape = shapeOf(stage);
  if (width >= height) {
    const strip = Math.min(STRIP.most, Math.max(STRIP.least, width * STRIP.part));
    const screen = { x: 0, y: 0, width: Math.round(width - strip - gap), height };
    const tiles = pack(count, { width: strip, height, gap }, shape);
    return { screen, tiles: tiles.map((box) => ({ ...box, x: Math.round(box.x + width - strip) })) };
  }
  const tall = Math.round(Math.min(height * 0.6, Math.max(height * 0.3, width / WIDE)));
  const screen = { x: 0, y: 0, width, height: tall };
  // Nobody is shown larger than what they talk about.
  const tiles = pack(count, { width, height: height - tall - gap, gap }, shape, width / 2);
  return { screen, tiles: tiles.map((box) => ({ ...box, y: box.y + tall + gap })) };
}
