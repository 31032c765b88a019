// The panel about the tile in the middle: its words, its alternatives, and the branches that grew from decisions.

import { ask } from "./protocol.js";
import { TileFeed } from "./source.js";
import { formatNumber } from "./origin.js";

/**
 * @typedef {import("./protocol.js").Session} Session
 * @typedef {import("./protocol.js").Tree} Tree
 * @typedef {import("./protocol.js").TileEvent} TileEvent
 * @typedef {import("./view.js").PictureView} PictureView
 * @typedef {import("./origin.js").Place} Place
 * @typedef {{is_made: boolean, words: string, by: string, note: string, is_decided: boolean, seed: number, turn: string}} Decided
 * @typedef {{candidate: number, tree: string, seed: number, turn: string, is_current: boolean}} Alternative
 * @typedef {{name: string, decisions: number, scale: number, words: string | null, candidate: number | null}} Branch
 */

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

/** Raises `decided` with the new tree, `everywhere` with words, `branch` with a name, `look` when it wants other tiles. */
export class TilePanel extends EventTarget {
  isOpen = false;
  /** @type {Place | null} */
  place = null;
  /** @type {Decided | null} */
  decided = null;
  /** @type {Alternative[]} */
  alternatives = [];
  #isTyping = false;

  /** @param {PictureView} view @param {Session} session */
  constructor(view, session) {
    super();
    this.view = view;
    this.session = session;
    const { name, reads_words: reads, candidates } = session.backbone;
    byId("words-form").hidden = !reads;
    byId("words-ignored").hidden = reads;
    byId("words-ignored").textContent = `${name} ignores words: they would change nothing.`;
    byId("alternatives").hidden = candidates < 2;
    byId("alternatives-count").replaceChildren(...[2, 3, 4, 5, 6].filter((count) => count <= candidates).map((count) => new Option(String(count), String(count), false, count === 4)));
    byId("words").addEventListener("input", () => this.#type(true));
    byId("words").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        byId("words-form").requestSubmit();
      } else if (event.key === "Escape") this.#type(false);
    });
    byId("words-form").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#decide({ words: byId("words").value.trim() });
    });
    byId("words-back").addEventListener("click", () => this.#decide({}));
    byId("words-everywhere").addEventListener("click", () => {
      this.#isTyping = false;
      this.#tell("everywhere", byId("words").value.trim());
    });
    byId("alternatives-show").addEventListener("click", () => this.#showAlternatives());
    byId("branch").addEventListener("change", () => this.#tell("branch", byId("branch").value));
    byId("tile-close").addEventListener("click", () => this.toggle());
  }

  /** What the server is to know besides the view: the alternatives that are looked at. */
  get wish() {
    const { place, alternatives } = this;
    if (!this.isOpen || !place || alternatives.length === 0) return {};
    return { place: [place.level, place.column, place.row], alternatives: alternatives.map(({ tree }) => tree) };
  }

  toggle() {
    this.isOpen = !this.isOpen;
    byId("tile").hidden = !this.isOpen;
    byId("tile-open").setAttribute("aria-pressed", String(this.isOpen));
    if (this.isOpen) {
      this.settle();
      this.listBranches();
    } else {
      if (byId("tile").contains(document.activeElement)) byId("viewer").focus();
      this.#dropAlternatives();
    }
  }

  /** Turn to the tile that is in the middle now, but not while somebody writes about another. */
  settle() {
    if (!this.isOpen || this.#isTyping) return;
    const place = this.view.middle();
    const isSame = place && this.place && samePlace(place, this.place);
    if (isSame && this.#tree === this.view.tree?.id) return;
    this.place = place;
    this.#tree = this.view.tree?.id;
    if (isSame && this.alternatives.length > 0) this.#showAlternatives();
    else this.#dropAlternatives();
    this.#ask();
  }

  /** @type {string | undefined} */
  #tree;

  /** @param {TileEvent} event */
  hear({ tree, tile, problem }) {
    const { place } = this;
    if (!this.isOpen || !place || !this.view.tree || problem) return;
    if (!samePlace(place, { level: tile[0] + this.view.tree.native, column: tile[1], row: tile[2] })) return;
    if (tree === this.view.tree.id) this.#ask();
    const index = this.alternatives.findIndex((alternative) => alternative.tree === tree);
    for (const number of index >= 0 ? [index] : this.alternatives.keys()) this.#drawAlternative(number);
  }

  /** Read anew which branches the photo has. */
  async listBranches() {
    const { tree } = this.view;
    if (!tree || !this.isOpen) return;
    const branches = /** @type {Branch[]} */ (await ask("GET", `/api/trees/${tree.id}/branches`).catch(() => []));
    byId("branch-label").hidden = branches.length === 0;
    const options = branches.map((branch) => new Option(describeBranch(branch), branch.name, false, branch.name === tree.branch));
    byId("branch").replaceChildren(new Option("as it grew", "", false, tree.branch === ""), ...options);
  }

  /** @param {boolean} isTyping */
  #type(isTyping) {
    this.#isTyping = isTyping;
    if (isTyping) return;
    byId("words").value = this.decided?.words ?? "";
    this.settle();
  }

  /** @param {Place} place */
  #path({ level, column, row }) {
    return `/api/trees/${this.view.tree?.id}/tiles/${TileFeed.key(level, column, row)}`;
  }

  async #ask() {
    const { place } = this;
    this.decided = place ? await ask("GET", this.#path(place)).catch(() => null) : null;
    if (place === this.place) this.#draw();
  }

  #draw() {
    const { place, decided, view } = this;
    const isTile = Boolean(place && decided);
    byId("tile-none").hidden = isTile;
    byId("tile-some").hidden = !isTile;
    this.#tell("change", null);
    if (!place || !decided || !view.tree) return;
    const { name, reads_words: reads } = this.session.backbone;
    const seed = this.session.backbone.is_seeded ? `seed ${decided.seed}` : decided.turn === "none" ? "window as it is" : `window turned: ${decided.turn}`;
    const scale = formatNumber(view.tree.levels[place.level].scale);
    byId("tile-what").textContent = `${scale}× the photo's own resolution, ${decided.is_made ? "made" : "to be made"} by ${name}; ${seed}.`;
    byId("words-back").hidden = !decided.is_decided;
    if (!reads) return;
    if (!this.#isTyping) byId("words").value = decided.words;
    byId("words-by").textContent = describeWriter(decided);
  }

  /** @param {{words?: string, candidate?: number}} change */
  async #decide(change) {
    const { place, decided } = this;
    if (!place || !decided) return;
    this.#isTyping = false;
    try {
      const isEmpty = change.words === undefined && change.candidate === undefined;
      const words = change.words ?? (decided.by === "user" && decided.is_decided && !isEmpty ? decided.words : null);
      const candidate = change.candidate ?? null;
      this.#tell("decided", await ask("PUT", this.#path(place), { words, candidate }));
    } catch (error) {
      this.#tell("problem", /** @type {Error} */ (error).message);
    }
  }

  // Alternatives

  async #showAlternatives() {
    const { place } = this;
    if (!place) return;
    try {
      this.alternatives = await ask("GET", `${this.#path(place)}/alternatives/${byId("alternatives-count").value}`);
    } catch (error) {
      this.#tell("problem", /** @type {Error} */ (error).message);
      return;
    }
    byId("choices").replaceChildren(...this.alternatives.map((alternative) => this.#makeChoice(alternative)));
    byId("choices").hidden = false;
    this.alternatives.forEach((_, index) => this.#drawAlternative(index));
    this.#tell("look", null);
  }

  /** @param {Alternative} alternative */
  #makeChoice({ candidate, is_current: isCurrent, turn }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "choice";
    button.setAttribute("aria-pressed", String(isCurrent));
    button.setAttribute("aria-label", `Alternative ${candidate}${turn === "none" ? "" : `, window turned: ${turn}`}${isCurrent ? ", in use" : ""}`);
    button.append(document.createElement("canvas"), `${candidate}`);
    button.addEventListener("click", () => this.#decide({ candidate }));
    return button;
  }

  /** Draw an alternative as soon as it is there. @param {number} index */
  async #drawAlternative(index) {
    const { place } = this;
    const alternative = this.alternatives[index];
    const canvas = /** @type {HTMLCanvasElement | undefined} */ (byId("choices").children[index]?.firstChild);
    if (!place || !alternative || !canvas || canvas.dataset.made) return;
    const path = `/api/trees/${alternative.tree}/tiles/${TileFeed.key(place.level, place.column, place.row)}.png`;
    const response = await fetch(path).catch(() => null);
    if (response?.status !== 200 || response.headers.has("X-Coz-Draft")) return; // the server will say when it is there
    const bitmap = await createImageBitmap(await response.blob());
    Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
    canvas.dataset.made = "true";
  }

  #dropAlternatives() {
    const hadSome = this.alternatives.length > 0;
    this.alternatives = [];
    byId("choices").replaceChildren();
    byId("choices").hidden = true;
    if (hadSome) this.#tell("look", null);
  }

  /** @param {string} type @param {any} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @param {Place} one @param {Place} other */
function samePlace(one, other) {
  return one.level === other.level && one.column === other.column && one.row === other.row;
}

/** Who wrote the words. @param {Decided} decided */
function describeWriter({ is_made: isMade, words, by, note, is_decided: isDecided }) {
  if (by === "user") return isDecided ? "yours, for this tile" : "yours, for every tile";
  if (by === "") return "none; yours, where you type some";
  if (!isMade && !words) return `${by} writes them when the tile is made`;
  return note || `written by ${by}`;
}

/** @param {Branch} branch */
function describeBranch({ scale, words, candidate, decisions }) {
  const text = words === null ? "" : words === "" ? "no words" : `“${words.length > 30 ? `${words.slice(0, 29)}…` : words}”`;
  const which = [candidate ? `alternative ${candidate}` : "", text].filter(Boolean).join(", ");
  return `${formatNumber(scale)}×: ${which}${decisions > 1 ? ` (and ${decisions - 1} before)` : ""}`;
}
