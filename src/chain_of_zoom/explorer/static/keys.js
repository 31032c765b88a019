// Everything by keyboard: the same acts as the buttons.

/** @typedef {import("./view.js").PictureView} PictureView */

const STEP = 0.2; // shares of the view

/**
 * @param {Record<string, any> & {view: PictureView}} acts the acts of the buttons by their ids, and the view
 */
export function listenToKeys(acts) {
  const { view } = acts;
  /** @param {1 | -1} by */
  const goLevel = (by) => {
    const sight = view.look();
    if (!sight || !view.tree) return;
    const level = Math.min(Math.max(sight.level + by, 0), view.tree.levels.length - 1);
    view.zoomToScale(view.tree.levels[level].scale * devicePixelRatio);
  };
  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowLeft: () => view.moveBy(-STEP, 0),
    ArrowRight: () => view.moveBy(STEP, 0),
    ArrowUp: () => view.moveBy(0, -STEP),
    ArrowDown: () => view.moveBy(0, STEP),
    "+": acts.closer,
    "=": acts.closer,
    "-": acts.farther,
    _: acts.farther,
    0: acts.home,
    Home: acts.home,
    1: acts.pixels,
    "[": () => goLevel(-1),
    "]": () => goLevel(1),
    f: acts["zoom-to"],
    t: acts.trust,
    c: acts.compare,
    v: acts.version,
    w: acts["tile-open"],
    s: acts.stop,
    l: acts.link,
    e: acts.export,
    "?": acts.help,
  };
  addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const isTyping = target.matches("input, select, textarea") || document.querySelector("dialog[open]");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
}
