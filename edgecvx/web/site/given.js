// A picture from whoever looks: chosen, taken with the phone's own camera app, dropped, or pasted.

/**
 * @param {HTMLElement} stage Shows that a picture may be dropped.
 * @param {(picture: Blob) => void} take
 */
export function acceptPictures(stage, take) {
  for (const input of inputs()) {
    input.addEventListener("change", () => {
      if (input.files?.length) take(input.files[0]);
      input.value = ""; // the same one can be chosen again
    });
  }
  for (const name of ["dragover", "dragleave", "drop"]) {
    addEventListener(name, (event) => {
      event.preventDefault(); // a browser would leave the page for the picture
      stage.classList.toggle("over", name === "dragover");
    });
  }
  addEventListener("drop", (event) => first(event.dataTransfer, take));
  addEventListener("paste", (event) => first(event.clipboardData, take));
}

/** @returns {HTMLInputElement[]} */
function inputs() {
  return [...document.querySelectorAll("input")].filter((input) => input.type === "file");
}

/**
 * @param {DataTransfer | null} data
 * @param {(picture: Blob) => void} take
 */
function first(data, take) {
  const files = [...(data?.files ?? [])];
  const picture = files.find((file) => file.type.startsWith("image/")) ?? files[0];
  if (picture) take(picture);
}
