// Save what is in sight as a file: the server cuts it from the tiles that are there.

import { ask } from "./protocol.js";

/** @typedef {import("./view.js").PictureView} PictureView */

/**
 * Fetch the file of a view and hand it to the browser.
 * @param {PictureView} view @param {string} kind as the server calls it
 * @param {ReturnType<PictureView["aim"]>} [aim] what of it, by default what is in sight
 * @returns {Promise<string>} its name
 */
export async function saveView(view, kind, aim = view.aim()) {
  if (!aim) throw new Error("nothing to save yet; accepted: a photo in sight; open one");
  const wish = { kind, sight: aim.sight, size: view.pixels };
  const response = await ask("POST", `/api/trees/${aim.tree}/export`, wish);
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(await response.blob());
  anchor.download = /filename="([^"]+)"/.exec(response.headers.get("content-disposition"))?.[1] ?? "view";
  anchor.click();
  URL.revokeObjectURL(anchor.href);
  return anchor.download;
}

/**
 * Save, and say so.
 * @param {PictureView} view @param {string} kind @param {(text: string, isError?: boolean) => void} say
 * @param {ReturnType<PictureView["aim"]>} [aim]
 */
export async function saveAndSay(view, kind, say, aim) {
  say("Saving ...");
  try {
    say(`${await saveView(view, kind, aim)} is saved.`);
  } catch (error) {
    say(/** @type {Error} */ (error).message, true);
  }
}

/**
 * Let the buttons of the dialog save.
 * @param {HTMLDialogElement} dialog whose buttons have `data-kind` @param {PictureView} view
 * @param {(text: string, isError?: boolean) => void} say
 */
export function listenToSaves(dialog, view, say) {
  for (const button of dialog.querySelectorAll("button")) {
    const { kind } = button.dataset;
    if (kind) button.addEventListener("click", () => {
      dialog.close();
      saveAndSay(view, kind, say);
    });
  }
}
