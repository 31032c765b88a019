// A frame over the picture: dragged, or moved by keys, it says into what to zoom.

const SMALLEST = 10; // pixels of the width of a frame; a drag that is shorter is a click
const CLICKED = 0.25; // share of the view that a click frames
const STEP = 0.04;

/** @typedef {{x: number, y: number, size: number}} Frame centre and width as shares of the view */

/** Raises `frame` with the frame that a person settled on, and `leave` where they want none. */
export class FrameDrawing extends EventTarget {
  /** @type {Frame} */
  #frame = { x: 0.5, y: 0.5, size: CLICKED };
  /** @type {{x: number, y: number} | null} */
  #start = null;

  /**
   * @param {HTMLElement} layer over the picture @param {HTMLElement} box @param {HTMLElement} text inside it
   * @param {(size: number) => string} name says what a frame of that share of the view comes to
   */
  constructor(layer, box, text, name) {
    super();
    this.layer = layer;
    this.box = box;
    this.text = text;
    this.name = name;
    layer.addEventListener("pointerdown", (event) => this.#press(event));
    layer.addEventListener("pointermove", (event) => this.#drag(event));
    layer.addEventListener("pointerup", (event) => this.#release(event));
    layer.addEventListener("pointercancel", () => (this.#start = null));
    layer.addEventListener("keydown", (event) => this.#key(event));
  }

  get isOpen() {
    return !this.layer.hidden;
  }

  open() {
    this.#frame = { x: 0.5, y: 0.5, size: CLICKED };
    this.layer.hidden = false;
    this.layer.focus();
    this.#draw();
  }

  close() {
    this.layer.hidden = true;
    this.#start = null;
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.layer.focus();
    this.layer.setPointerCapture(event.pointerId);
    this.#start = { x: event.offsetX, y: event.offsetY };
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    if (!this.#start) return;
    const { clientWidth: width, clientHeight: height } = this.layer;
    const [across, down] = [event.offsetX - this.#start.x, event.offsetY - this.#start.y];
    const wide = Math.min(Math.max(Math.abs(across), (Math.abs(down) * width) / height), width); // as the view is shaped
    const centre = [this.#start.x + (Math.sign(across || 1) * wide) / 2, this.#start.y + (Math.sign(down || 1) * wide * height) / width / 2];
    this.#frame = { x: centre[0] / width, y: centre[1] / height, size: Math.max(wide, SMALLEST) / width };
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #release(event) {
    if (!this.#start) return;
    const { clientWidth: width, clientHeight: height } = this.layer;
    if (Math.hypot(event.offsetX - this.#start.x, event.offsetY - this.#start.y) < SMALLEST) {
      this.#frame = { x: this.#start.x / width, y: this.#start.y / height, size: CLICKED };
    }
    this.#start = null;
    this.#settle();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { x, y, size } = this.#frame;
    /** @type {Record<string, Partial<Frame>>} */
    const moves = {
      ArrowLeft: { x: x - STEP },
      ArrowRight: { x: x + STEP },
      ArrowUp: { y: y - STEP },
      ArrowDown: { y: y + STEP },
      "+": { size: size / 1.25 },
      "=": { size: size / 1.25 },
      "-": { size: size * 1.25 },
    };
    if (event.key === "Enter") this.#settle();
    else if (event.key === "Escape") this.dispatchEvent(new Event("leave"));
    else if (event.key in moves) Object.assign(this.#frame, moves[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
    const frame = this.#frame;
    frame.size = Math.min(Math.max(frame.size, SMALLEST / this.layer.clientWidth), 1);
    [frame.x, frame.y] = [frame.x, frame.y].map((share) => Math.min(Math.max(share, 0), 1));
    this.#draw();
  }

  #settle() {
    this.dispatchEvent(new CustomEvent("frame", { detail: this.#frame }));
  }

  #draw() {
    const { x, y, size } = this.#frame;
    const style = { left: x - size / 2, top: y - size / 2, width: size, height: size };
    for (const [key, share] of Object.entries(style)) this.box.style.setProperty(key, `${100 * share}%`);
    const name = this.name(size);
    if (this.text.textContent !== name) this.text.textContent = name;
  }
}
