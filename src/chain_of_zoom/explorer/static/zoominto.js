// Zoom into a frame: the frame, the strip of states, and what can be saved of them.

import { FrameDrawing } from "./frame.js";
import { StatesStrip } from "./states.js";
import { saveAndSay } from "./save.js";
import { formatNumber } from "./origin.js";

/**
 * @typedef {import("./protocol.js").Session} Session
 * @typedef {import("./view.js").PictureView} PictureView
 */

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

/**
 * Let a frame start a strip of states.
 * @param {PictureView} view @param {Session} session @param {(text: string, isError?: boolean) => void} say
 * @returns {() => void} what opens the frame, and closes it
 */
export function listenToFrames(view, session, say) {
  const name = (/** @type {number} */ size) => `${formatNumber(view.spotOf({ x: 0.5, y: 0.5, size }).zoom / view.homeZoom)}×`;
  const frame = new FrameDrawing(byId("framing"), byId("frame"), byId("frame-text"), name);
  const strip = new StatesStrip(byId("states"), view, session);
  const saves = [byId("strip-sheet"), byId("strip-zip")];
  const leave = () => {
    frame.close();
    byId("viewer").focus();
  };
  frame.addEventListener("leave", leave);
  frame.addEventListener("frame", async (event) => {
    const spot = view.spotOf(/** @type {CustomEvent} */ (event).detail);
    const magnification = spot.zoom / view.homeZoom;
    leave();
    for (const button of saves) button.hidden = true;
    if (byId("strip").hidden) {
      byId("strip").hidden = false;
      await view.fitRoom();
    }
    strip.go({ ...spot, zoom: magnification * view.homeZoom }).catch((error) => say(error.message, true));
  });
  strip.addEventListener("end", () => {
    for (const button of saves) button.hidden = false;
  });
  for (const handler of ["canvas-press", "canvas-scroll"]) view.viewer.addHandler(handler, () => strip.stop());
  byId("strip-close").addEventListener("click", () => {
    strip.stop();
    byId("strip").hidden = true;
    byId("viewer").focus();
  });
  ["sheet", "zip"].forEach((kind, index) => saves[index].addEventListener("click", () => saveAndSay(view, kind, say, strip.aim)));
  return () => (frame.isOpen ? leave() : view.tree && frame.open());
}
