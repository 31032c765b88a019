// The page: from what a person does to the picture, and from what the server says to what the page says.

import { ask, Connection } from "./protocol.js";
import { TileFeed } from "./source.js";
import { PictureView } from "./view.js";
import { drawOverlay } from "./overlay.js";
import { formatNumber, formatTime } from "./origin.js";
import { readLink, writeLink } from "./link.js";
import { listenToKeys } from "./keys.js";
import { listenToFiles } from "./files.js";
import { listenToSaves } from "./save.js";
import { listenToFrames } from "./zoominto.js";
import { TilePanel } from "./tile.js";

/**
 * @typedef {import("./protocol.js").Session} Session
 * @typedef {import("./protocol.js").Photo} Photo
 * @typedef {import("./protocol.js").TileEvent} TileEvent
 */

const LOOK_AFTER = 100; // ms of rest before the server is told what is in sight
const NAMES = { measured: "measured", interpolated: "interpolated", generated: "generated", beyond: "beyond evidence" };

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

class Page {
  /** @type {Photo[]} */
  photos = [];
  isMarking = false;
  isStopped = false;
  words = "";
  version = 1;
  branch = "";
  waiting = 0;
  /** @type {number | null} */
  eta = null;
  #frame = 0;
  #timer = 0;

  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    this.backbone = session.backbone;
    this.connection = new Connection();
    this.view = new PictureView(byId("viewer"), session.backbone);
    this.panel = new TilePanel(this.view, session);
    this.photos = session.photos;
    this.#describe();
    this.#wire();
  }

  #describe() {
    const { name, licence, reads_words: reads, is_plain: isPlain, evidence_limit: limit, wordless_limit: wordless } = this.backbone;
    const apart = wordless && wordless !== limit ? `, or ${formatNumber(wordless)}× where no words are used` : "";
    const evidence = limit === null ? "" : ` Its detail is beyond evidence above ${formatNumber(limit)}× the photo's own resolution${apart}.`;
    const words = !reads ? ` ${name} ignores words.` : this.session.prompter ? ` The prompter ${this.session.prompter} tells it what is to be seen.` : "";
    const draft = this.session.draft ? ` ${this.session.draft} draws it first.` : "";
    byId("about").textContent = isPlain
      ? `Below the photo's own pixels everything is enlarged by ${name}, which makes nothing up.${words}`
      : `Past the photo's last pixel every tile is made by ${name} (${licence}).${draft}${evidence}${words}`;
    byId("version-label").hidden = this.backbone.candidates < 2;
    byId("version").replaceChildren(...Array.from({ length: this.backbone.candidates }, (_, index) => new Option(String(index + 1))));
    byId("split-right").textContent = `${isPlain ? "enlarged" : "made"} by ${name}`;
    byId("film").hidden = !this.session.makes_films;
    byId("limits").textContent = `Up to ${Math.round(this.session.upload_bytes / 1e6)} MB: JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP; HEIF where it is installed.`;
  }

  #wire() {
    const { view, connection } = this;
    view.addEventListener("change", () => this.#redraw());
    view.addEventListener("settle", () => this.#lookSoon());
    view.addEventListener("jump", () => this.#look());
    connection.addEventListener("hello", () => {
      view.feed?.askAgain();
      this.say("");
      this.#lookSoon();
    });
    connection.addEventListener("lost", () => this.say("The server does not answer; trying again.", true));
    connection.addEventListener("tile", (event) => this.#hearTile(/** @type {CustomEvent} */ (event).detail));
    connection.addEventListener("failed", (event) => this.#hearTile(/** @type {CustomEvent} */ (event).detail));
    connection.addEventListener("queue", (event) => {
      ({ waiting: this.waiting, eta: this.eta } = /** @type {CustomEvent} */ (event).detail);
      this.#redraw();
    });
    this.#wirePanel();
    addEventListener("hashchange", () => this.openLink());
    /** @type {Record<string, () => void>} */
    const acts = {
      closer: () => view.zoomBy(2),
      farther: () => view.zoomBy(0.5),
      home: () => view.home(),
      pixels: () => view.zoomToScale(1),
      trust: () => this.toggleMarks(),
      compare: () => this.toggleCompare(),
      link: () => this.copyLink(),
      export: () => byId("save").showModal(),
      "tile-open": () => this.panel.toggle(),
      "zoom-to": listenToFrames(view, this.session, (text, isError) => this.say(text, isError)),
      stop: () => this.toggleStop(),
      help: () => byId("keys").showModal(),
    };
    for (const [id, act] of Object.entries(acts)) byId(id).addEventListener("click", act);
    byId("version").addEventListener("change", (/** @type {any} */ event) => this.takeVersion(Number(event.target.value)));
    byId("photos").addEventListener("change", (/** @type {any} */ event) => this.open(event.target.value, null, true));
    byId("split-slider").addEventListener("input", (/** @type {any} */ event) => {
      view.split = Number(event.target.value) / 100;
      byId("stage").style.setProperty("--split", String(view.split));
      this.#redraw();
    });
    const next = () => this.takeVersion((this.version % this.backbone.candidates) + 1);
    listenToKeys({ ...acts, view, version: next, stop: () => this.toggleStop() });
    listenToSaves(byId("save"), view, (text, isError) => this.say(text, isError));
    listenToFiles(byId("stage"), byId("file"), [byId("open"), byId("open-large")], (file) => this.upload(file));
  }

  #wirePanel() {
    const { panel } = this;
    /** @param {string} type @param {(detail: any) => void} act */
    const on = (type, act) => panel.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
    on("change", () => this.#redraw());
    on("look", () => this.#look());
    on("problem", (text) => this.say(text, true));
    on("decided", ({ branch }) => this.#turnTo({ branch }));
    on("branch", (branch) => this.#turnTo({ branch }));
    on("everywhere", (words) => this.#turnTo({ words }));
  }

  /** Show another tree of the photo in the same view; the browser's way back leads to the one before. @param {{words?: string, branch?: string}} change */
  async #turnTo(change) {
    history.pushState(null, "", location.hash);
    Object.assign(this, change);
    const { tree, spot } = this.view;
    if (tree) await this.open(tree.photo.id, spot);
  }

  /** Open what the address says, or the first photo. */
  async openLink() {
    const link = readLink(location.hash);
    const photo = link.photo || this.photos[0]?.id;
    this.words = link.words;
    this.version = Math.min(link.version, this.backbone.candidates);
    byId("version").value = String(this.version);
    this.branch = link.branch;
    byId("empty").hidden = Boolean(photo);
    if (photo) await this.open(photo, link.spot);
  }

  /** @param {string} photo @param {import("./view.js").Spot | null} spot @param {boolean} [isOther] whether decisions are left behind */
  async open(photo, spot, isOther = false) {
    const { view } = this;
    if (isOther) this.branch = "";
    try {
      const tree = await ask("POST", "/api/trees", { photo, words: this.words, candidate: this.version, branch: this.branch });
      if (!this.photos.some(({ id }) => id === tree.photo.id)) this.photos = [...this.photos, tree.photo];
      byId("empty").hidden = true;
      if (view.tree?.id === tree.id) {
        if (spot) view.goTo(spot);
      } else {
        await view.show(tree, spot);
      }
      byId("title").textContent = tree.photo.name;
      byId("command").textContent = `coz upscale "${tree.photo.name}" --scale 4 --backbone ${this.backbone.name}`;
      document.title = `${tree.photo.name} · Chain-of-Zoom`;
      this.#listPhotos(tree.photo.id);
      this.#look();
      this.panel.settle();
      this.panel.listBranches();
    } catch (error) {
      byId("empty").hidden = Boolean(view.tree);
      this.say(/** @type {Error} */ (error).message, true);
    }
  }

  /** @param {File} file */
  async upload(file) {
    if (file.size > this.session.upload_bytes) {
      this.say(`${file.name} has ${Math.round(file.size / 1e6)} MB; accepted: up to ${Math.round(this.session.upload_bytes / 1e6)}.`, true);
      return;
    }
    this.say(`Reading ${file.name} ...`);
    try {
      const photo = await ask("PUT", `/api/photos?name=${encodeURIComponent(file.name)}`, file);
      this.say("");
      await this.open(photo.id, null, true);
      byId("viewer").focus();
    } catch (error) {
      this.say(/** @type {Error} */ (error).message, true);
    }
  }

  /** @param {number} version */
  async takeVersion(version) {
    this.version = version;
    byId("version").value = String(version);
    const { tree, spot } = this.view;
    if (tree) await this.open(tree.photo.id, spot);
  }

  toggleMarks() {
    this.isMarking = !this.isMarking;
    byId("trust").setAttribute("aria-pressed", String(this.isMarking));
    this.#redraw();
  }

  toggleCompare() {
    const isOn = !this.view.isComparing;
    this.view.compare(isOn);
    byId("compare").setAttribute("aria-pressed", String(isOn));
    for (const id of ["split", "split-left", "split-right"]) byId(id).hidden = !isOn;
    if (isOn) byId("split-slider").focus();
  }

  async toggleStop() {
    this.isStopped = !this.isStopped;
    byId("stop").textContent = this.isStopped ? "Go on" : "Stop";
    byId("work").classList.toggle("stopped", this.isStopped);
    if (this.isStopped) await this.connection.rest();
    else this.#look();
    this.#redraw();
  }

  async copyLink() {
    try {
      await navigator.clipboard.writeText(location.href);
      this.say("The link to this view is copied.");
    } catch {
      this.say(location.href);
    }
  }

  /** @param {string} text @param {boolean} [isError] */
  say(text, isError = false) {
    const message = byId("message");
    message.textContent = text;
    message.hidden = !text;
    message.classList.toggle("error", isError);
    clearTimeout(this.#timer);
    if (text && !isError) this.#timer = setTimeout(() => this.say(""), 5000);
  }

  /** @param {TileEvent} event */
  #hearTile({ tree, tile, problem, final }) {
    const { view } = this;
    this.panel.hear({ tree, tile, problem });
    if (view.tree?.id !== tree || !view.feed) return;
    const key = TileFeed.key(tile[0] + view.tree.native, tile[1], tile[2]);
    if (problem === undefined) view.feed.arrive(key).then(() => view.refresh());
    else if (final) {
      view.feed.problems.set(key, problem);
      this.say(problem, true);
    }
    this.#redraw();
  }

  /** @type {number | undefined} */
  #soon;

  #lookSoon() {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => this.#look(), LOOK_AFTER);
  }

  async #look() {
    const { view } = this;
    const aim = view.aim();
    if (!aim || !view.tree) return;
    this.panel.settle();
    const { words, version, branch } = this;
    const link = writeLink({ photo: view.tree.photo.id, spot: view.spot, words, version, branch });
    if (link !== location.hash) history.replaceState(null, "", link);
    if (this.isStopped) return;
    try {
      const waiting = await this.connection.look({ ...aim, ...this.panel.wish });
      if (waiting !== null) {
        this.waiting = waiting;
        this.eta = null; // the server says it with the next tile
      }
    } catch (error) {
      const { status } = /** @type {any} */ (error);
      if (status === 410) await this.open(view.tree.photo.id, view.spot);
    }
    this.#redraw();
  }

  #redraw() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const sight = this.view.look();
    this.view.clip();
    const split = this.view.isComparing ? this.view.split : 0;
    drawOverlay(byId("overlay"), this.isMarking ? sight : null, split, byId("viewer").querySelector(".navigator"), this.panel.isOpen && this.panel.place ? this.view.box(this.panel.place) : null);
    if (!sight) return;
    byId("magnification").textContent = `${formatNumber(sight.magnification)}×`;
    byId("scale").textContent = sight.scale >= 1
      ? `${formatNumber(sight.scale)} pixels per photo pixel`
      : `1 pixel shows ${formatNumber(1 / sight.scale)} photo pixels`;
    this.#drawBar(sight.scale);
    byId("stage").dataset.origin = sight.origin;
    this.#drawLine(sight);
    const isBusy = sight.missing > 0 && (this.waiting > 0 || this.isStopped);
    byId("work").hidden = !isBusy;
    const time = this.eta ? `, about ${formatTime(this.eta)}` : "";
    const text = this.isStopped ? `stopped; ${count(sight.missing, "tile")} in sight not made` : `${count(this.waiting, "tile")} to come${time}`;
    if (byId("work-text").textContent !== text) byId("work-text").textContent = text;
  }

  /** A bar of a round number of photo pixels. @param {number} scale */
  #drawBar(scale) {
    const pixels = (90 * devicePixelRatio) / scale;
    const power = 10 ** Math.floor(Math.log10(pixels));
    const round = [1, 2, 5, 10].map((step) => step * power).filter((length) => length <= pixels).pop() ?? power;
    const bar = byId("bar");
    bar.style.width = `${(round * scale) / devicePixelRatio}px`;
    bar.title = `${formatNumber(round)} photo pixels`;
  }

  /** @param {import("./view.js").Sight} sight */
  #drawLine(sight) {
    const line = byId("line");
    const { name, is_plain: isPlain } = this.backbone;
    const by = { measured: "", interpolated: "", generated: ` by ${this.#makers(sight)}`, beyond: `: made by ${this.#makers(sight)}` }[sight.origin];
    const how = sight.origin === "interpolated" && isPlain && sight.scale > 2 ? ` by ${name}` : "";
    const missing = sight.missing && !this.isStopped ? `; ${count(sight.missing, "tile")} to come` : "";
    const failed = sight.failed ? `; ${count(sight.failed, "tile")} failed` : "";
    const text = `${by}${how}${missing}${failed}`;
    if (line.dataset.text === sight.origin + text) return; // a screen reader would say it again
    line.dataset.text = sight.origin + text;
    line.dataset.origin = sight.origin;
    const strong = document.createElement("b");
    strong.textContent = NAMES[sight.origin];
    line.replaceChildren(strong, text);
  }

  /** Who made what is in sight. @param {import("./view.js").Sight} sight */
  #makers({ drafts, tiles }) {
    const { name } = this.backbone;
    if (drafts === 0) return name;
    const draft = `${this.session.draft} for now`;
    return drafts === tiles.length ? draft : `${name}, ${drafts} of ${tiles.length} tiles by ${draft}`;
  }

  /** @param {string} current */
  #listPhotos(current) {
    byId("photos-label").hidden = this.photos.length < 2;
    byId("photos").replaceChildren(...this.photos.map(({ id, name }) => new Option(name, id, false, id === current)));
  }
}

/** @param {number} number @param {string} noun */
function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

const page = new Page(await ask("GET", "/api/session"));
Object.assign(globalThis, { explorer: page }); // for tests, and for whoever looks at it in the console
await page.openLink();
