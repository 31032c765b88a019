// The picture on the page: OpenSeadragon with the tiles of a tree, what of it is in sight, and the comparison.

import { TileFeed } from "./source.js";
import { ask } from "./protocol.js";
import { blurOf, chooseLevel, leastCertain, listTiles, originOf, shownLevel } from "./origin.js";

/**
 * @typedef {import("./protocol.js").Tree} Tree
 * @typedef {import("./protocol.js").Backbone} Backbone
 * @typedef {import("./origin.js").Place} Place
 * @typedef {import("./origin.js").Origin} Origin
 * @typedef {{x: number, y: number, zoom: number}} Spot centre as fractions of the photo, and widths of the view in it
 * @typedef {{magnification: number, scale: number, level: number, sight: number[], origin: Origin, missing: number,
 *   drafts: number, failed: number, tiles: {place: Place, origin: Origin, isThere: boolean, isDraft: boolean, box: number[]}[]}} Sight
 */

const EXCHANGE_AFTER = 400; // ms for which another tree of the photo may stay below
const OSD = /** @type {any} */ (globalThis).OpenSeadragon;
const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Shows one tree at a time. Raises `change` while it moves and when tiles come, `settle` when the aim is new, `jump` when it
 * is final. */
export class PictureView extends EventTarget {
  /** @type {Tree | null} */
  tree = null;
  /** @type {TileFeed | null} */
  feed = null;
  isComparing = false;
  /** How blurred photos are, by their ids: rows of columns. @type {Map<string, (number | null)[][]>} */
  #blurs = new Map();
  /** Where the comparison is split, as a fraction of the width. */
  split = 0.5;
  /** @type {any} */
  #plain = null;

  /** @param {HTMLElement} element @param {Backbone} backbone */
  constructor(element, backbone) {
    super();
    this.element = element;
    this.backbone = backbone;
    this.viewer = OSD({
      element,
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "TOP_LEFT",
      navigatorSizeRatio: 0.16,
      navigatorAutoFade: false,
      tabIndex: -1,
      imageLoaderLimit: 0,
      timeout: 2147483647,
      maxImageCacheCount: 600,
      visibilityRatio: 0.5,
      minZoomImageRatio: 0.8,
      zoomPerScroll: 1.4,
      animationTime: isCalm ? 0 : 0.5,
      blendTime: isCalm ? 0 : 0.35,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    });
    this.viewer.innerTracker.keyHandler = null;
    this.viewer.innerTracker.keyDownHandler = null;
    for (const name of ["update-viewport", "tile-loaded", "resize"]) this.viewer.addHandler(name, () => this.#tell("change"));
    for (const name of ["viewport-change", "animation-finish", "resize", "open"]) this.viewer.addHandler(name, () => this.#tell("settle"));
  }

  get #port() {
    return this.viewer.viewport;
  }

  /**
   * Show a tree, at a spot or as a whole.
   * @param {Tree} tree @param {Spot | null} spot
   */
  async show(tree, spot) {
    this.#learnBlur(tree);
    if (this.tree?.photo.id === tree.photo.id && this.viewer.isOpen()) {
      await this.#exchange(tree);
      if (spot) this.goTo(spot);
      this.#tell("settle");
      return;
    }
    this.tree = tree;
    this.feed = new TileFeed(tree);
    this.#plain = null;
    await new Promise((resolve) => {
      this.viewer.addOnceHandler("open", resolve);
      this.viewer.open(this.feed?.source());
    });
    this.#port.maxZoomPixelRatio = 2 * tree.levels[tree.levels.length - 1].scale;
    if (spot) this.goTo(spot, true);
    if (this.isComparing) this.compare(true);
    this.#tell("settle");
  }

  /** Ask, once, how blurred a photo is from place to place; frames follow it as soon as that is known. @param {Tree} tree */
  async #learnBlur(tree) {
    if (this.#blurs.has(tree.photo.id)) return;
    const { blur } = await ask("GET", `/api/trees/${tree.id}/blur`).catch(() => ({}));
    if (!blur) return;
    this.#blurs.set(tree.photo.id, blur);
    this.#tell("change");
  }

  /** Show another tree of the same photo in the same view; the one before stays below until the first tiles are there. @param {Tree} tree */
  async #exchange(tree) {
    const before = this.viewer.world.getItemAt(0);
    this.tree = tree;
    this.feed = new TileFeed(tree);
    const item = await new Promise((resolve) => {
      this.viewer.addTiledImage({ tileSource: this.feed?.source(), index: 1, success: (/** @type {any} */ event) => resolve(event.item) });
    });
    await new Promise((resolve) => {
      item.addOnceHandler("fully-loaded-change", resolve);
      setTimeout(resolve, EXCHANGE_AFTER);
    });
    this.viewer.world.removeItem(before);
  }

  /** The generated tile in the middle of the view; null where that is the photo itself. @returns {Place | null} */
  middle() {
    const aim = this.aim();
    if (!aim || !this.tree || aim.level <= this.tree.native) return null;
    const [x0, y0, x1, y1] = aim.sight;
    const { scale, side } = this.tree.levels[aim.level];
    const { width, height } = this.tree.photo;
    const [column, row] = [[(x0 + x1) / 2, width], [(y0 + y1) / 2, height]].map(([share, length]) =>
      Math.floor(Math.min(Math.max(share * length * scale, 0), Math.ceil(length * scale) - 1) / side));
    return { level: aim.level, column, row };
  }

  /** @returns {Spot} */
  get spot() {
    const centre = this.#port.getCenter(false);
    return { x: centre.x, y: centre.y * this.#shape, zoom: this.#port.getZoom(false) };
  }

  /** Width over height of the photo. */
  get #shape() {
    return this.tree ? this.tree.photo.width / this.tree.photo.height : 1;
  }

  /** Zoom at which the whole photo is in sight. @returns {number} */
  get homeZoom() {
    return this.#port.getHomeZoom();
  }

  /** Take the room that the page leaves now. */
  async fitRoom() {
    await new Promise((resolve) => {
      this.viewer.addOnceHandler("resize", resolve);
      setTimeout(resolve, 500); // where it was the same
    });
  }

  /** Whether the picture is still on its way. */
  get isMoving() {
    const [here, aim] = [this.#port.getBounds(true), this.#port.getBounds(false)];
    const slack = aim.width / 1000;
    return Math.abs(here.x - aim.x) > slack || Math.abs(here.y - aim.y) > slack || Math.abs(here.width - aim.width) > slack;
  }

  /** The spot that a frame in the view stands for. @param {{x: number, y: number, size: number}} frame in shares of the view @returns {Spot} */
  spotOf({ x, y, size }) {
    const [x0, y0, x1, y1] = this.#fractions(false);
    const zoom = Math.min(this.#port.getZoom(false) / size, this.#port.getMaxZoom());
    return { x: x0 + x * (x1 - x0), y: y0 + y * (y1 - y0), zoom };
  }

  /** Width and height of the view in pixels of the page. */
  get pixels() {
    const { x, y } = this.#port.getContainerSize();
    return [Math.round(x), Math.round(y)];
  }

  /** What the view at a spot shows. @param {Spot} spot @returns {number[]} left, top, right, bottom as fractions of the photo */
  sightOf({ x, y, zoom }) {
    const [width, height] = this.pixels;
    const [across, down] = [1 / zoom, ((height / width) * this.#shape) / zoom];
    return [x - across / 2, y - down / 2, x + across / 2, y + down / 2];
  }

  /** The same spot, moved so that its view shows nothing outside the photo, where that can be. @param {Spot} spot @returns {Spot} */
  inside(spot) {
    const [x0, y0, x1, y1] = this.sightOf(spot);
    const clamp = (/** @type {number} */ at, /** @type {number} */ span) => (span >= 1 ? 0.5 : Math.min(Math.max(at, span / 2), 1 - span / 2));
    return { x: clamp(spot.x, x1 - x0), y: clamp(spot.y, y1 - y0), zoom: spot.zoom };
  }

  /** @param {Spot} spot @param {boolean} [atOnce] */
  goTo(spot, atOnce = false) {
    this.#port.zoomTo(spot.zoom, null, atOnce);
    this.#port.panTo(new OSD.Point(spot.x, spot.y / this.#shape), atOnce);
    this.#tell("jump");
  }

  /** @param {number} factor */
  zoomBy(factor) {
    this.#port.zoomBy(factor);
    this.#port.applyConstraints();
  }

  /** @param {number} x @param {number} y in shares of the view */
  moveBy(x, y) {
    const bounds = this.#port.getBounds(false);
    this.#port.panBy(new OSD.Point(x * bounds.width, y * bounds.height));
    this.#port.applyConstraints();
  }

  home() {
    this.#port.goHome();
    this.#tell("jump");
  }

  /** Show so many pixels of the screen for each pixel of the photo. @param {number} scale */
  zoomToScale(scale) {
    if (!this.tree) return;
    this.#port.zoomTo((scale * this.tree.photo.width) / (this.#port.getContainerSize().x * devicePixelRatio));
    this.#port.applyConstraints();
    this.#tell("jump");
  }

  /** Compare with the plain enlargement of the photo, on the left of the split. @param {boolean} isOn */
  compare(isOn) {
    this.isComparing = isOn;
    if (!isOn && this.#plain) {
      this.viewer.world.removeItem(this.#plain);
      this.#plain = null;
    } else if (isOn && !this.#plain && this.tree && this.feed) {
      this.viewer.addTiledImage({
        tileSource: new TileFeed(this.tree).source(this.tree.native),
        success: (/** @type {any} */ event) => {
          this.#plain = event.item;
          this.clip();
        },
      });
    }
  }

  /** Cut the plain enlargement at the split. */
  clip() {
    if (!this.#plain || !this.tree) return;
    const bounds = this.#port.getBounds(true);
    const { width, height } = this.tree.photo;
    const right = Math.min(Math.max((bounds.x + bounds.width * this.split) * width, 0), width);
    this.#plain.setOpacity(right > 0 ? 1 : 0);
    if (right > 0) this.#plain.setClip(new OSD.Rect(0, 0, right, height));
  }

  /** Draw again what is in sight, as when a tile took the place of its draft. */
  refresh() {
    this.viewer.forceRedraw();
    this.#tell("change");
  }

  /** What is in sight now: scale, level, tiles and where their pixels come from. @returns {Sight | null} */
  look() {
    const { tree, feed } = this;
    if (!tree || !feed || !this.viewer.isOpen()) return null;
    const container = this.#port.getContainerSize();
    const zoom = this.#port.getZoom(true);
    const plainScale = (zoom * container.x) / tree.photo.width;
    const scale = plainScale * devicePixelRatio;
    const level = chooseLevel(tree, plainScale);
    const sight = this.#fractions(true);
    const tiles = listTiles(tree, level, sight).map((place) => {
      const shown = shownLevel(tree, place, (...key) => feed.has(...key));
      const isDraft = feed.isDraft(place.level, place.column, place.row);
      const isThere = level <= tree.native || (shown === level && !isDraft);
      const blur = blurOf(tree, place, this.#blurs.get(tree.photo.id));
      return { place, isDraft, origin: originOf(tree, this.backbone, shown, scale, blur), isThere, box: this.box(place) };
    });
    return {
      magnification: zoom / this.#port.getHomeZoom(),
      scale,
      level,
      sight,
      tiles,
      origin: leastCertain(tiles.map((tile) => tile.origin)),
      drafts: tiles.filter((tile) => tile.isDraft).length,
      missing: tiles.filter((tile) => !tile.isThere).length,
      failed: tiles.filter(({ place }) => feed.problems.has(TileFeed.key(place.level, place.column, place.row))).length,
    };
  }

  /** What the server is told: the level and the rectangle that the view is on its way to. */
  aim() {
    if (!this.tree || !this.viewer.isOpen()) return null;
    const scale = (this.#port.getZoom(false) * this.#port.getContainerSize().x) / this.tree.photo.width;
    return { tree: this.tree.id, level: chooseLevel(this.tree, scale), sight: this.#fractions(false) };
  }

  /** @param {boolean} isCurrent @returns {number[]} left, top, right, bottom as fractions of the photo */
  #fractions(isCurrent) {
    const bounds = this.#port.getBounds(isCurrent);
    const shape = this.#shape;
    return [bounds.x, bounds.y * shape, bounds.x + bounds.width, (bounds.y + bounds.height) * shape];
  }

  /** Where a tile lies on the screen. @param {Place} place @returns {number[]} x, y, width, height */
  box({ level, column, row }) {
    const tree = /** @type {Tree} */ (this.tree);
    const { scale, side } = tree.levels[level];
    const bounds = this.#port.getBounds(true);
    const container = this.#port.getContainerSize();
    const perPixel = container.x / bounds.width / (tree.photo.width * scale);
    const x0 = column * side;
    const y0 = row * side;
    const x1 = Math.min(x0 + side, Math.ceil(tree.photo.width * scale));
    const y1 = Math.min(y0 + side, Math.ceil(tree.photo.height * scale));
    const left = (bounds.x * container.x) / bounds.width;
    const top = (bounds.y * container.x) / bounds.width;
    return [x0 * perPixel - left, y0 * perPixel - top, (x1 - x0) * perPixel, (y1 - y0) * perPixel];
  }

  /** @param {string} type */
  #tell(type) {
    this.dispatchEvent(new Event(type));
  }
}
