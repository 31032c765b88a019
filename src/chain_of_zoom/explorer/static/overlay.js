// Draw over the picture which tile has which origin: a hatch each, so that colour is not needed to tell them apart.

/** @typedef {import("./view.js").Sight} Sight */

/** Degrees of the lines of a hatch. @type {Record<string, number[]>} */
const HATCHES = { measured: [], interpolated: [0], generated: [45], beyond: [45, 135] };
const GAP = 14;

/**
 * Draw the tiles in sight.
 * @param {HTMLCanvasElement} canvas @param {Sight | null} sight null clears
 */
export function drawOverlay(canvas, sight) {
  const context = canvas.getContext("2d");
  if (!context) return;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  if (!sight) return;
  context.scale(devicePixelRatio, devicePixelRatio);
  const style = getComputedStyle(canvas);
  for (const { origin, isThere, box } of sight.tiles) {
    const [x, y, w, h] = box;
    context.save();
    context.beginPath();
    context.rect(x, y, w, h);
    context.clip();
    context.strokeStyle = style.getPropertyValue(`--${origin}`);
    context.globalAlpha = 0.45;
    context.lineWidth = 1;
    for (const degrees of HATCHES[origin]) hatch(context, degrees, width, height);
    context.globalAlpha = 1;
    context.lineWidth = 4;
    context.setLineDash(isThere ? [] : [8, 8]);
    context.strokeRect(x + 1, y + 1, w - 2, h - 2);
    context.restore();
  }
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
