// The tiles of a tree as OpenSeadragon wants them. A tile that is not made yet keeps its job open, and no connection:
// OpenSeadragon would never ask again for one that failed.

/** @typedef {import("./protocol.js").Tree} Tree */

/** The tiles of one tree: which are there, and which are waited for. */
export class TileFeed {
  /** @type {Map<string, any>} jobs of OpenSeadragon that wait, by tile */
  #waiting = new Map();
  /** @type {Set<string>} tiles that were received */
  #here = new Set();
  /** @type {Map<string, CanvasRenderingContext2D>} tiles that are drafts, and where they are drawn */
  #drafts = new Map();
  /** @type {Map<string, string>} what the server said of tiles that it could not make */
  problems = new Map();

  /** @param {Tree} tree */
  constructor(tree) {
    this.tree = tree;
  }

  /** @param {number} level @param {number} column @param {number} row */
  static key(level, column, row) {
    return `${level}/${column}/${row}`;
  }

  /** Whether a tile was received. @param {number} level @param {number} column @param {number} row */
  has(level, column, row) {
    return this.#here.has(TileFeed.key(level, column, row));
  }

  /** Whether a tile is a draft of the real one. @param {number} level @param {number} column @param {number} row */
  isDraft(level, column, row) {
    return this.#drafts.has(TileFeed.key(level, column, row));
  }

  /** A source for OpenSeadragon. @param {number} [deepest] index of its last level */
  source(deepest = this.tree.levels.length - 1) {
    const { levels, photo } = this.tree;
    const feed = this;
    return {
      width: photo.width,
      height: photo.height,
      tileSize: levels[0].side,
      minLevel: 0,
      maxLevel: deepest,
      getLevelScale: (/** @type {number} */ level) => levels[Math.min(level, deepest)].scale,
      getTileWidth: (/** @type {number} */ level) => levels[Math.min(level, deepest)].side,
      getTileHeight: (/** @type {number} */ level) => levels[Math.min(level, deepest)].side,
      getTileUrl: (/** @type {number} */ level, /** @type {number} */ column, /** @type {number} */ row) =>
        `/api/trees/${feed.tree.id}/tiles/${level}/${column}/${row}.png`,
      hasTransparency: () => false,
      downloadTileStart: (/** @type {any} */ job) => feed.#start(job),
      downloadTileAbort: (/** @type {any} */ job) => feed.#drop(job),
    };
  }

  /**
   * Take note that the server has made a tile.
   * @param {string} key
   * @returns {Promise<void>} when it is on its way to the screen
   */
  async arrive(key) {
    this.problems.delete(key);
    const jobs = [...(this.#waiting.get(key) ?? [])];
    await Promise.all([...jobs.map((job) => this.#fetch(job, key)), this.#replace(key)]);
  }

  /** Ask again for every tile that is waited for, as after a break in the connection. */
  askAgain() {
    for (const key of new Set([...this.#waiting.keys(), ...this.#drafts.keys()])) this.arrive(key);
  }

  /** @param {any} job */
  #start(job) {
    const key = TileFeed.key(job.tile.level, job.tile.x, job.tile.y);
    if (!this.#waiting.has(key)) this.#waiting.set(key, new Set());
    this.#waiting.get(key).add(job);
    this.#fetch(job, key);
  }

  /** @param {any} job @param {string} key */
  async #fetch(job, key) {
    try {
      const tile = await this.#read(key);
      if (!tile) return; // not made yet; the server will say when it is
      if (!this.#waiting.get(key)?.has(job)) { // another answer was faster
        this.#drawOver(key, tile);
        return;
      }
      const context = /** @type {any} */ (new OffscreenCanvas(tile.bitmap.width, tile.bitmap.height).getContext("2d"));
      context.drawImage(tile.bitmap, 0, 0);
      this.#drop(job);
      this.#here.add(key);
      if (tile.isDraft) this.#drafts.set(key, context);
      job.finish(context, null, "context2d");
    } catch {
      // the server is away: the job stays, and is asked for again when the connection is back
    }
  }

  /** Fetch the real tile of a draft. @param {string} key */
  async #replace(key) {
    if (!this.#drafts.has(key)) return;
    const tile = await this.#read(key).catch(() => null);
    if (tile) this.#drawOver(key, tile);
  }

  /** Draw the real tile over its draft. @param {string} key @param {{bitmap: ImageBitmap, isDraft: boolean}} tile */
  #drawOver(key, { bitmap, isDraft }) {
    if (isDraft) return;
    this.#drafts.get(key)?.drawImage(bitmap, 0, 0);
    this.#drafts.delete(key);
  }

  /** @param {string} key @returns {Promise<{bitmap: ImageBitmap, isDraft: boolean} | null>} */
  async #read(key) {
    const response = await fetch(`/api/trees/${this.tree.id}/tiles/${key}.png`);
    if (response.status !== 200) return null;
    return { bitmap: await createImageBitmap(await response.blob()), isDraft: response.headers.has("X-Coz-Draft") };
  }

  /** @param {any} job */
  #drop(job) {
    const key = TileFeed.key(job.tile.level, job.tile.x, job.tile.y);
    const jobs = this.#waiting.get(key);
    jobs?.delete(job);
    if (jobs?.size === 0) this.#waiting.delete(key);
  }
}
