// Where the picture is: the camera's as it comes, or one that stands still; and in its place, why there is none.

import { part, set } from "./parts/text.js";

/** @typedef {import("./camera.js").Trouble} Trouble */
/** @typedef {"start" | "retry" | "choose" | "take"} Offer */

const isHandheld = matchMedia("(pointer: coarse)");
const WIDEST = 1600; // pixels of a still picture; a photo of twelve million would only fill memory

export class Stage {
  element = part(document, ".stage");
  video = /** @type {HTMLVideoElement} */ (part(document, "#video"));
  still = /** @type {HTMLCanvasElement} */ (part(document, "#still"));
  #veil = part(document, "#veil");

  constructor() {
    const turned = () => this.still.hidden && this.#fit(this.video.videoWidth, this.video.videoHeight);
    this.video.addEventListener("resize", turned);
  }

  /** @param {boolean} isMirrored */
  showCamera(isMirrored) {
    this.element.classList.toggle("mirrored", isMirrored);
    this.#show(this.video, "Live picture");
    this.#fit(this.video.videoWidth, this.video.videoHeight);
  }

  /** The camera's picture of now stays. */
  freeze() {
    const { videoWidth, videoHeight } = this.video;
    if (!videoWidth) return;
    this.#draw(this.video, videoWidth, videoHeight);
  }

  /** @param {ImageBitmap} picture */
  showPicture(picture) {
    this.element.classList.remove("mirrored");
    this.#draw(picture, picture.width, picture.height);
  }

  /**
   * Words in place of the picture.
   * @param {Trouble} trouble
   * @param {Offer[]} offers What can be done about it.
   */
  cover({ title, sentence }, offers) {
    set(part(this.#veil, ".veil-title"), title);
    set(part(this.#veil, ".veil-text"), sentence);
    for (const button of this.#veil.querySelectorAll("button")) {
      const isOffered = offers.some((offer) => offer === button.dataset.offer);
      button.hidden = !isOffered || (button.dataset.offer === "take" && !isHandheld.matches);
    }
    this.#veil.hidden = false;
    this.element.classList.add("covered");
  }

  /** @param {string} what For who does not see it. */
  describe(what) {
    for (const picture of [this.video, this.still]) picture.setAttribute("aria-label", what);
  }

  /**
   * @param {CanvasImageSource} source
   * @param {number} width
   * @param {number} height
   */
  #draw(source, width, height) {
    const scale = Math.min(1, WIDEST / Math.max(width, height));
    this.still.width = Math.max(1, Math.round(width * scale));
    this.still.height = Math.max(1, Math.round(height * scale));
    this.still.getContext("2d")?.drawImage(source, 0, 0, this.still.width, this.still.height);
    this.#show(this.still, "Picture");
    this.#fit(width, height);
  }

  /**
   * @param {HTMLElement} which
   * @param {string} what
   */
  #show(which, what) {
    this.video.hidden = which !== this.video;
    this.still.hidden = which !== this.still;
    this.#veil.hidden = true;
    this.element.classList.remove("covered");
    this.describe(what);
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  #fit(width, height) {
    if (width && height) part(document, "main").style.setProperty("--aspect", (width / height).toFixed(4));
  }
}
