// Speak with the server: JSON requests, and the stream of events that tells which tiles are there.

/**
 * @typedef {{id: string, name: string, width: number, height: number, notes: string[]}} Photo
 * @typedef {{scale: number, side: number}} Level
 * @typedef {{id: string, photo: Photo, words: string, branch: string, levels: Level[], native: number, may_use_words: boolean}} Tree
 * @typedef {{name: string, summary: string, licence: string, factor: number, candidates: number, reads_words: boolean, is_seeded: boolean, is_plain: boolean,
 *   evidence_limit: number | null, wordless_limit: number | null}} Backbone
 * @typedef {{photos: Photo[], backbone: Backbone, draft: string, prompter: string, makes_films: boolean, upload_bytes: number}} Session
 * @typedef {{tree: string, tile: [number, number, number], seconds?: number, problem?: string, final?: boolean}} TileEvent
 */

/**
 * Send a request and return what the server answers. Throws an Error with the server's own line.
 * @param {string} method
 * @param {string} path
 * @param {BodyInit | object} [body]
 * @returns {Promise<any>}
 */
export async function ask(method, path, body) {
  const isFile = body instanceof Blob;
  let response;
  try {
    response = await fetch(path, { method, body: body === undefined || isFile ? /** @type {any} */ (body) : JSON.stringify(body) });
  } catch {
    throw new Error("the server does not answer; is it still running?");
  }
  const type = response.headers.get("content-type") ?? "";
  if (!response.ok) {
    const reason = type.includes("json") ? (await response.json()).error : response.statusText;
    throw Object.assign(new Error(reason), { status: response.status });
  }
  return type.includes("json") ? response.json() : response;
}

/** Hear of tiles, and say what is in sight. */
export class Connection extends EventTarget {
  /** Name that the server gave this page; empty while there is no connection. */
  viewer = "";
  #last = "";

  constructor() {
    super();
    const stream = new EventSource("/api/events");
    /** @param {string} type @param {(data: any) => void} act */
    const on = (type, act) => stream.addEventListener(type, (event) => act(JSON.parse(/** @type {MessageEvent} */ (event).data)));
    on("hello", (data) => {
      this.viewer = data.viewer;
      this.#last = "";
      this.#tell("hello");
    });
    on("anew", () => {
      this.#last = "";
      this.#tell("hello");
    });
    for (const type of ["tile", "failed", "queue"]) on(type, (data) => this.#tell(type, data));
    stream.addEventListener("error", () => {
      this.viewer = "";
      this.#tell("lost");
    });
    addEventListener("pagehide", () => stream.close());
  }

  /**
   * Say what is in sight; the same twice is said once.
   * @param {{tree: string, level: number, sight: number[], place?: number[], alternatives?: string[]}} view
   * @returns {Promise<number | null>} how many tiles that takes, null where nothing new was said
   */
  async look(view) {
    const text = JSON.stringify(view);
    if (!this.viewer || text === this.#last) return null;
    this.#last = text;
    const answer = await this.#askInTurn("PUT", view);
    return answer.waiting;
  }

  /** Let nothing be made for this page until it looks again. */
  async rest() {
    this.#last = "";
    if (this.viewer) await this.#askInTurn("DELETE");
  }

  /** @type {Promise<any>} */
  #before = Promise.resolve();

  /** Speak of the view once the server has heard what was said before: the last word counts. @param {string} method @param {object} [view] */
  #askInTurn(method, view) {
    const answer = this.#before.then(() => ask(method, `/api/viewers/${this.viewer}/view`, view));
    this.#before = answer.catch(() => null);
    return answer;
  }

  /** @param {string} type @param {any} [detail] */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
