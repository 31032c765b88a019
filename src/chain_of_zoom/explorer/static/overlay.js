// Draw over the picture which tile has which origin: a hatch each, so that colour is not needed to tell them apart.

/** @typedef {import("./view.js").Sight} Sight */

/** Degrees of the lines of a hatch. @type {Record<string, number[]>} */
const HATCHES = { measured: [], interpolated: [0], generated: [45], beyond: [45, 135] };
const GAP = 30;

/**
 * Draw the tiles in sight, but not over the map.
 * @param {HTMLCanvasElement} canvas @param {Sight | null} sight null clears
 * @param {number} split share of the width at whose left the plain enlargement is shown
 * @param {HTMLElement | null} map
 * @param {number[] | null} middle box of the tile that is spoken of
 */
export function drawOverlay(canvas, sight, split, map, middle) {
  const context = canvas.getContext("2d");
  if (!context) return;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  context.scale(devicePixelRatio, devicePixelRatio);
  const style = getComputedStyle(canvas);
  if (sight) drawTiles(context, style, sight, split * width);
  if (middle) drawFrame(context, style, middle);
  if (map) context.clearRect(map.offsetLeft, map.offsetTop, map.offsetWidth, map.offsetHeight);
}

/** @param {CanvasRenderingContext2D} context @param {CSSStyleDeclaration} style @param {number[]} box */
function drawFrame(context, style, [x, y, w, h]) {
  for (const [stroke, width] of /** @type {[string, number][]} */ ([["rgb(0 0 0 / 0.5)", 6], [style.getPropertyValue("--link"), 3]])) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.strokeRect(x + 2, y + 2, w - 4, h - 4);
  }
}

/** @param {CanvasRenderingContext2D} context @param {CSSStyleDeclaration} style @param {Sight} sight @param {number} edge */
function drawTiles(context, style, sight, edge) {
  for (const { origin, isThere, box } of sight.tiles) {
    const [x, y, w, h] = box;
    const left = Math.max(x, edge);
    drawTile(context, style, [left, y, x + w - left, h], origin, isThere);
  }
  if (edge > 0) {
    const [first, last] = [sight.tiles[0], sight.tiles[sight.tiles.length - 1]];
    const top = first?.box[1] ?? 0;
    const bottom = last ? last.box[1] + last.box[3] : 0;
    const start = Math.max(first?.box[0] ?? 0, 0);
    drawTile(context, style, [start, top, edge - start, bottom - top], sight.scale > 1.001 ? "interpolated" : "measured", true);
  }
}

/**
 * @param {CanvasRenderingContext2D} context @param {CSSStyleDeclaration} style @param {number[]} box
 * @param {string} origin @param {boolean} isThere
 */
function drawTile(context, style, [x, y, w, h], origin, isThere) {
  if (w <= 0 || h <= 0) return;
  const { clientWidth, clientHeight } = context.canvas;
  context.save();
  context.beginPath();
  context.rect(x, y, w, h);
  context.clip();
  const colour = style.getPropertyValue(`--${origin}`);
  for (const [stroke, width] of /** @type {[string, number][]} */ ([["rgb(0 0 0 / 0.3)", 3], [colour, 1.2]])) { // on any picture
    context.strokeStyle = stroke;
    context.lineWidth = width;
    for (const degrees of HATCHES[origin]) hatch(context, degrees, clientWidth, clientHeight);
  }
  context.lineWidth = 2.5;
  context.setLineDash(isThere ? [] : [8, 8]);
  context.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
  context.restore();
}

/** @param {CanvasRenderingContext2D} context @param {number} degrees @param {number} width @param {number} height */
function hatch(context, degrees, width, height) {
  const reach = width + height;
  context.beginPath();
  for (let at = -reach; at < reach; at += GAP) {
    if (degrees === 0) {
      context.moveTo(0, at);
      context.lineTo(width, at);
    } else if (degrees === 45) {
      context.moveTo(at, height);
      context.lineTo(at + height, 0);
    } else {
      context.moveTo(at, 0);
      context.lineTo(at + height, height);
    }
  }
  context.stroke();
}
