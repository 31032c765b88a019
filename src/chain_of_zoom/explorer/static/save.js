// Save what is in sight as a file: the server cuts it from the tiles that are there.

import { ask } from "./protocol.js";

/** @typedef {import("./view.js").PictureView} PictureView */

/**
 * Fetch the file of a view and hand it to the browser.
 * @param {PictureView} view @param {string} kind as the server calls it
 * @returns {Promise<string>} its name
 */
export async function saveView(view, kind) {
  const aim = view.aim();
  if (!aim) throw new Error("nothing to save yet; accepted: a photo in sight; open one");
  const size = view.viewer.viewport.getContainerSize();
  const wish = { kind, sight: aim.sight, size: [Math.round(size.x), Math.round(size.y)] };
  const response = await ask("POST", `/api/trees/${aim.tree}/export`, wish);
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(await response.blob());
  anchor.download = /filename="([^"]+)"/.exec(response.headers.get("content-disposition"))?.[1] ?? "view";
  anchor.click();
  URL.revokeObjectURL(anchor.href);
  return anchor.download;
}

/**
 * Let the buttons of the dialog save.
 * @param {HTMLDialogElement} dialog whose buttons have `data-kind` @param {PictureView} view
 * @param {(text: string, isError?: boolean) => void} say
 */
export function listenToSaves(dialog, view, say) {
  for (const button of dialog.querySelectorAll("button")) {
    const { kind } = button.dataset;
    if (kind) button.addEventListener("click", async () => {
      dialog.close();
      say("Saving ...");
      try {
        say(`${await saveView(view, kind)} is saved.`);
      } catch (error) {
        say(/** @type {Error} */ (error).message, true);
      }
    });
  }
}
