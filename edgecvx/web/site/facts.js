// What each step took, now and over the last minute, and how fresh answers are.

import { drawChart } from "./parts/chart.js";
import { History } from "./parts/history.js";
import { part, set } from "./parts/text.js";

const STEPS = ["end", "decode", "prepare", "infer"];
const MINUTE = 60_000;
const FRESH = 2; // inferences, from the coming of a frame to its answer

/** @typedef {{decode: number, prepare: number, infer: number}} Times */

export class Facts {
  #place = part(document, ".facts");
  #history = new History(MINUTE);
  /** @type {number[]} */
  #answered = [];
  #count = 0;
  #stale = 0;

  constructor() {
    setInterval(() => this.#draw(), 500);
  }

  /**
   * @param {Times} times
   * @param {number} arrived When the frame came.
   * @param {number} taken When the network's work on it began.
   */
  add(times, arrived, taken) {
    const now = performance.now();
    const age = (now - arrived) / (now - taken);
    this.#history.add({ ...times, end: now - arrived, age });
    this.#answered = [...this.#answered.filter((at) => at > now - 2000), now];
    if (age > FRESH) this.#stale += 1;
    Object.assign(this.#place.dataset, { answers: (this.#count += 1), stale: this.#stale }); // for who watches for long
  }

  /** What was measured was of another model. */
  forget() {
    this.#history = new History(MINUTE);
    this.#answered = [];
  }

  #draw() {
    if (document.hidden) return;
    const now = performance.now();
    for (const step of STEPS) {
      const series = { points: this.#history.buckets(step, now), usual: this.#history.recent(step, 2500) };
      drawChart(part(this.#place, `#fact-${step}`), [series]);
    }
    const oldest = Math.max(...this.#history.buckets("age", now).map((point) => point?.high ?? 0));
    set(part(this.#place, "#age"), oldest ? `${oldest.toFixed(1)} inferences` : "–");
    this.#place.dataset.oldest = oldest.toFixed(2);
    const fps = this.#answered.filter((at) => at > now - 2000).length / 2;
    set(part(this.#place, "#fps"), fps ? fps.toFixed(fps < 10 ? 1 : 0) : "–");
  }
}
