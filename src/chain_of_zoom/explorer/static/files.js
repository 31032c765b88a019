// Photos that a person brings: chosen, dropped or pasted.

/**
 * @param {HTMLElement} stage where files may be dropped
 * @param {HTMLInputElement} input
 * @param {HTMLElement[]} buttons that open the dialog
 * @param {(file: File) => void} take
 */
export function listenToFiles(stage, input, buttons, take) {
  for (const button of buttons) button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files?.[0]) take(input.files[0]);
    input.value = "";
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("drop");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) stage.classList.remove("drop");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("drop");
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (file) take(file);
  });
}
