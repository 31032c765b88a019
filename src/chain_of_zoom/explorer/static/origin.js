// Say of a view where its pixels come from. Pure functions: no page, no server.

/**
 * @typedef {import("./protocol.js").Tree} Tree
 * @typedef {import("./protocol.js").Backbone} Backbone
 * @typedef {"measured" | "interpolated" | "generated" | "beyond"} Origin
 * @typedef {{level: number, column: number, row: number}} Place
 */

/** Origins from the most to the least certain. @type {Origin[]} */
export const ORIGINS = ["measured", "interpolated", "generated", "beyond"];

/**
 * The index of the level that fits the screen: the deepest that is reduced to half at most.
 * @param {Tree} tree
 * @param {number} scale pixels of the screen for each pixel of the photo
 */
export function chooseLevel(tree, scale) {
  let level = 0;
  while (level + 1 < tree.levels.length && scale / tree.levels[level + 1].scale >= 0.5) level += 1;
  return level;
}

/**
 * The tiles of a level that lie in sight.
 * @param {Tree} tree @param {number} level
 * @param {number[]} sight left, top, right, bottom as fractions of the photo
 * @returns {Place[]}
 */
export function listTiles(tree, level, sight) {
  const { scale, side } = tree.levels[level];
  const clip = (/** @type {number} */ value) => Math.min(Math.max(value, 0), 1);
  const across = tree.photo.width * scale / side;
  const down = tree.photo.height * scale / side;
  const places = [];
  for (let row = Math.floor(clip(sight[1]) * down); row < clip(sight[3]) * down; row += 1) {
    for (let column = Math.floor(clip(sight[0]) * across); column < clip(sight[2]) * across; column += 1) {
      places.push({ level, column, row });
    }
  }
  return places;
}

/**
 * The level whose pixels are shown where a tile belongs: its own, or that of the nearest ancestor that is there.
 * @param {Tree} tree @param {Place} place
 * @param {(level: number, column: number, row: number) => boolean} has
 */
export function shownLevel(tree, place, has) {
  const own = tree.levels[place.level];
  for (let level = place.level; level > tree.native; level -= 1) {
    const ratio = (tree.levels[level].scale * own.side) / (own.scale * tree.levels[level].side);
    const column = Math.floor((place.column + 0.5) * ratio);
    const row = Math.floor((place.row + 0.5) * ratio);
    if (has(level, column, row)) return level;
  }
  return Math.min(place.level, tree.native);
}

/**
 * Where the pixels of a place come from.
 * @param {Tree} tree @param {Backbone} backbone
 * @param {number} level whose pixels are shown
 * @param {number} scale pixels of the screen for each pixel of the photo
 * @param {number} [blur] pixels of the photo over which its detail is blurred there
 * @returns {Origin}
 */
export function originOf(tree, backbone, level, scale, blur = 1) {
  if (level <= tree.native) return scale > 1.001 ? "interpolated" : "measured";
  if (backbone.is_plain) return "interpolated";
  const made = Math.min(scale, tree.levels[level].scale);
  const limit = limitOf(tree, backbone);
  return limit !== null && made * blur > limit ? "beyond" : "generated";
}

/**
 * Pixels of the photo over which its detail is blurred in the middle of a tile: 1 for sharp, or as long as it is unknown.
 * @param {Tree} tree @param {Place} place
 * @param {(number | null)[][] | undefined} blur of the whole photo, rows of columns
 */
export function blurOf(tree, place, blur) {
  if (!blur) return 1;
  const { scale, side } = tree.levels[place.level];
  const cell = (/** @type {number} */ index, /** @type {number} */ length, /** @type {number} */ count) =>
    Math.min(Math.floor((((index + 0.5) * side) / (scale * length)) * count), count - 1);
  const row = blur[cell(place.row, tree.photo.height, blur.length)];
  return row[cell(place.column, tree.photo.width, row.length)] ?? Infinity;
}

/** Pixels for each pixel of a sharp photo up to which there is evidence for a tree. @param {Tree} tree @param {Backbone} backbone */
export function limitOf(tree, backbone) {
  return tree.may_use_words ? backbone.evidence_limit : backbone.wordless_limit;
}

/** The least certain of several. @param {Origin[]} origins @returns {Origin} */
export function leastCertain(origins) {
  return ORIGINS[Math.max(0, ...origins.map((origin) => ORIGINS.indexOf(origin)))];
}

/** A magnification or scale in at most three digits. @param {number} value */
export function formatNumber(value) {
  if (value >= 99.5) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

/** A time in words. @param {number} seconds */
export function formatTime(seconds) {
  if (seconds < 1.5) return "1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}
