// The way to a spot as a strip of states: from the whole photo to the frame, each as soon as its tiles are there.

import { ask } from "./protocol.js";
import { TileFeed } from "./source.js";
import { formatNumber } from "./origin.js";

/**
 * @typedef {import("./protocol.js").Session} Session
 * @typedef {import("./view.js").PictureView} PictureView
 * @typedef {import("./view.js").Spot} Spot
 * @typedef {import("./view.js").Sight} Sight
 */

const LOOK_EVERY = 120; // ms
const FADE = 400; // ms
const SIDE = 220; // pixels of the width of a small picture
const NAMES = { measured: "measured", interpolated: "interpolated", generated: "generated", beyond: "beyond evidence" };

/** Raises `end` when all states are there. */
export class StatesStrip extends EventTarget {
  #run = 0;

  /** @param {HTMLElement} list of the states @param {PictureView} view @param {Session} session */
  constructor(list, view, session) {
    super();
    this.list = list;
    this.view = view;
    this.session = session;
  }

  /** What the strip ends with, as the server is told it; null until then. @type {ReturnType<PictureView["aim"]>} */
  aim = null;

  /** Give the way up, as when somebody takes the picture into their own hands. */
  stop() {
    this.#run += 1;
    for (const item of [...this.list.children]) if (item.classList.contains("coming")) item.remove();
  }

  /**
   * Go to a spot, state by state.
   * @param {Spot} spot
   */
  async go(spot) {
    const run = (this.#run += 1);
    this.list.replaceChildren();
    this.aim = null;
    for (const state of await this.#plan(this.view.inside(spot))) {
      if (run !== this.#run) return;
      const item = this.#addItem(state);
      this.view.goTo(state);
      do {
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
        if (run !== this.#run) return;
        this.#draw(item);
      } while (this.view.isMoving || this.view.look()?.missing);
      await new Promise((resolve) => setTimeout(resolve, FADE)); // the last tiles are still fading in
      await this.#finish(item);
      if (run !== this.#run) return;
    }
    this.aim = this.view.aim();
    this.dispatchEvent(new Event("end"));
  }

  /** The states of `coz zoom` on the way to a spot, the whole photo first. @param {Spot} spot @returns {Promise<Spot[]>} */
  async #plan(spot) {
    const { view } = this;
    const wish = { sight: view.sightOf(spot), size: view.pixels };
    const states = /** @type {{sight: number[]}[]} */ (await ask("POST", `/api/trees/${view.tree?.id}/states`, wish));
    const later = states.slice(1).map(({ sight: [x0, y0, x1, y1] }) => ({ x: (x0 + x1) / 2, y: (y0 + y1) / 2, zoom: 1 / (x1 - x0) }));
    return [{ x: 0.5, y: 0.5, zoom: view.homeZoom }, ...later];
  }

  /** @param {Spot} spot */
  #addItem(spot) {
    const item = document.createElement("li");
    item.className = "coming";
    const button = document.createElement("button");
    button.type = "button";
    const [canvas, caption, words] = ["canvas", "b", "span"].map((name) => document.createElement(name));
    button.append(canvas, caption, words);
    button.addEventListener("click", () => {
      this.stop();
      this.view.goTo(spot);
    });
    item.append(button);
    this.list.append(item);
    item.scrollIntoView({ inline: "end", block: "nearest" });
    return item;
  }

  /** Copy what is on the screen. @param {HTMLElement} item */
  #draw(item) {
    const sight = this.view.look();
    const [canvas, caption] = /** @type {any} */ (item.firstChild).children;
    const { canvas: screen } = this.view.viewer.drawer;
    if (!sight || screen.width === 0) return;
    canvas.width = SIDE;
    canvas.height = Math.round((SIDE * screen.height) / screen.width);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(screen, 0, 0, canvas.width, canvas.height);
    item.dataset.origin = sight.origin;
    caption.textContent = `${formatNumber(sight.magnification)}× ${sight.missing ? `${sight.missing} to come` : NAMES[sight.origin]}`;
  }

  /** Draw a state for the last time, and write its words. @param {HTMLElement} item */
  async #finish(item) {
    this.#draw(item);
    item.classList.remove("coming");
    const [, caption, words] = /** @type {any} */ (item.firstChild).children;
    const place = this.view.middle();
    if (place && this.view.tree && this.session.backbone.reads_words) {
      const path = `/api/trees/${this.view.tree.id}/tiles/${TileFeed.key(place.level, place.column, place.row)}`;
      words.textContent = (await ask("GET", path).catch(() => null))?.words ?? "";
      words.title = words.textContent;
    }
    item.firstElementChild?.setAttribute("aria-label", `Show ${caption.textContent}${words.textContent ? `: ${words.textContent}` : ""}`);
  }
}
