// What was measured in the last while, for the charts and the comparison.

const BUCKET = 500; // milliseconds; a chart has as many points as it has pixels for

/** @typedef {{x: number, low: number, mean: number, high: number}} Point */
/** @typedef {Object<string, number | null | undefined>} Values */
/** @typedef {{n: number, total: number, low: number, high: number}} Sum */

export class History {
  #keep;
  /** @type {{at: number, values: Values, winners: Object<string, number | undefined>}[]} */
  #results = [];

  /** @param {number} keep Milliseconds that are kept. */
  constructor(keep) {
    this.#keep = keep;
  }

  /**
   * @param {Values} values What was measured, by name.
   * @param {Object<string, number | undefined>} [winners] The class that each model named.
   */
  add(values, winners = {}) {
    const now = performance.now();
    this.#results.push({ at: now, values, winners });
    const old = this.#results.findIndex((each) => each.at > now - this.#keep);
    if (old > 50) this.#results.splice(0, old); // in batches: moving the array for every frame would cost more
  }

  /**
   * Oldest first, x from 0 to 1; a bucket without results is null, which breaks the line.
   * @param {string} name
   * @param {number} now
   * @returns {(Point | null)[]}
   */
  buckets(name, now) {
    const count = this.#keep / BUCKET;
    const end = Math.ceil(now / BUCKET);
    /** @type {(Sum | null)[]} */
    const sums = Array.from({ length: count }, () => null);
    for (const { at, values } of this.#results) {
      const value = values[name];
      const place = Math.floor(at / BUCKET) - (end - count);
      if (value === undefined || value === null || place < 0 || place >= count) continue;
      const sum = (sums[place] ??= { n: 0, total: 0, low: value, high: value });
      sum.n += 1;
      sum.total += value;
      sum.low = Math.min(sum.low, value);
      sum.high = Math.max(sum.high, value);
    }
    return sums.map((sum, i) => sum && { x: (i + 0.5) / count, low: sum.low, mean: sum.total / sum.n, high: sum.high });
  }

  /**
   * The median of the last while, of five results at least: a number that can be read while it changes.
   * @param {string} name
   * @param {number} span
   * @returns {number | undefined}
   */
  recent(name, span) {
    const since = performance.now() - span;
    const times = [];
    for (let i = this.#results.length - 1; i >= 0 && (this.#results[i].at > since || times.length < 5); i--) {
      const value = this.#results[i].values[name];
      if (value !== undefined && value !== null) times.push(value);
    }
    return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
  }

  /**
   * On how many frames two models named the same class.
   * @param {[string, string]} models
   * @returns {{same: number, of: number}}
   */
  agreement([a, b]) {
    const both = this.#results.filter(({ winners }) => winners[a] !== undefined && winners[b] !== undefined);
    return { same: both.filter(({ winners }) => winners[a] === winners[b]).length, of: both.length };
  }
}
