// Steady answers: probabilities averaged over time, and forgotten when the picture changes. As the live app does it
// (apps/edgecvx_live/smoothing.py), with its constants.

export const SECONDS = 0.4;

// Mean difference of two pictures, of 255, from which they count as different scenes.
export const CUT = 16;

const SMALL = { width: 16, height: 12 };

/** The running average of one model's probabilities. Weights follow from the time between two frames. */
export class Smoother {
  #seconds;
  /** @type {Float64Array | null} */
  #average = null;
  #at = 0;

  constructor(seconds = SECONDS) {
    this.#seconds = seconds;
  }

  /**
   * Takes in the probabilities of a frame captured at a time in seconds; returns the average.
   * @param {Float64Array} probabilities
   * @param {number} at
   * @returns {Float64Array}
   */
  update(probabilities, at) {
    const old = this.#average;
    if (old === null || this.#seconds <= 0 || old.length !== probabilities.length) {
      this.#average = probabilities;
    } else {
      const weight = 1 - Math.exp(-Math.max(0, at - this.#at) / this.#seconds);
      this.#average = old.map((value, i) => value + weight * (probabilities[i] - value));
    }
    this.#at = at;
    return this.#average;
  }

  /** Forgets everything. */
  reset() {
    this.#average = null;
  }
}

/** Tells whether a frame shows another scene than the one before; the first one does not. */
export class CutDetector {
  /** @type {Uint8ClampedArray | null} */
  #last = null;
  #brush = small();

  /**
   * @param {CanvasImageSource} picture
   * @returns {boolean}
   */
  cut(picture) {
    if (this.#brush === null) return false;
    this.#brush.drawImage(picture, 0, 0, SMALL.width, SMALL.height);
    const now = this.#brush.getImageData(0, 0, SMALL.width, SMALL.height).data;
    const last = this.#last;
    this.#last = now;
    return last !== null && difference(now, last) > CUT;
  }
}

/**
 * Of two small RGBA pictures: the mean over their colours.
 * @param {Uint8ClampedArray} a
 * @param {Uint8ClampedArray} b
 */
export function difference(a, b) {
  const sum = a.reduce((total, value, i) => total + (i % 4 === 3 ? 0 : Math.abs(value - b[i])), 0);
  return sum / ((a.length / 4) * 3);
}

/**
 * @param {Float32Array} logits
 * @returns {Float64Array}
 */
export function softmax(logits) {
  const highest = logits.reduce((most, value) => Math.max(most, value), -Infinity);
  const powers = Float64Array.from(logits, (value) => Math.exp(value - highest));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

function small() {
  const canvas = Object.assign(document.createElement("canvas"), SMALL);
  const brush = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  if (brush) brush.imageSmoothingQuality = "high"; // blurred, so that noise is none
  return brush;
}
