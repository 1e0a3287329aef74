// From a network's numbers to what is seen: the likeliest classes, steadied over the frames of a scene.

import { showReadings } from "./parts/readings.js";
import { percent } from "./parts/text.js";
import { CutDetector, Smoother, softmax } from "./smoothing.js";

const ROWS = 5;
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** @typedef {{trouble: string, label: string, sentence: string}} Seen */

export class Answer {
  #place;
  #smoother = new Smoother();
  #cuts = new CutDetector();
  /** @type {string[]} */
  #labels = [];
  #model = { id: "", file: "", precision: "INT8" };
  isShown = false;

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#place = place;
  }

  /** @param {import("./network.js").Network} network Whose answers come from now on. */
  use({ model }) {
    if (model === null) return;
    this.#labels = model.info.labels;
    this.#model = { id: model.entry.name, file: model.entry.name, precision: "INT8" };
    this.#smoother.reset();
  }

  /** Another scene begins: what is shown stays until its first answer. */
  forget() {
    this.#smoother.reset();
  }

  clear() {
    this.forget();
    this.isShown = false;
    showReadings(this.#place, [], [], true);
  }

  /** @param {HTMLVideoElement} video */
  isCut(video) {
    return this.#cuts.cut(video);
  }

  /**
   * @param {Float32Array} logits
   * @param {number} at Seconds.
   * @param {boolean} isCut Whether it shows another scene than the one before.
   */
  ofFrame(logits, at, isCut) {
    if (!logits.every(Number.isFinite)) return this.#overflown(); // one NaN would stay in the average
    if (isCut) this.#smoother.reset();
    return this.#show(this.#smoother.update(softmax(logits), at));
  }

  /** @param {Float32Array} logits */
  ofPicture(logits) {
    if (!logits.every(Number.isFinite)) return this.#overflown();
    return this.#show(softmax(logits));
  }

  /**
   * @param {Float64Array} probabilities
   * @returns {Seen}
   */
  #show(probabilities) {
    const top = best(probabilities).map((index) => ({
      index,
      label: this.#labels[index] ?? `class ${index}`,
      probability: probabilities[index],
    }));
    const { id, precision } = this.#model;
    showReadings(this.#place, [{ model: id, precision, top }], [this.#model], still.matches);
    this.isShown = true;
    return { trouble: "", label: top[0].label, sentence: `${top[0].label}, ${percent(top[0].probability)}` };
  }

  /** @returns {Seen} */
  #overflown() {
    const trouble = `${this.#model.id} answers NaN or infinity: its numbers overflow here; export it again`;
    return { trouble, label: "", sentence: "" };
  }
}

/** @param {Float64Array} probabilities */
function best(probabilities) {
  const order = Array.from(probabilities.keys());
  return order.sort((a, b) => probabilities[b] - probabilities[a]).slice(0, ROWS);
}
