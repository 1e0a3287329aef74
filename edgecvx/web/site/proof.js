// Whether a model computes in this browser what it computed where it was proved: edgecvx/board/proof.py, in JavaScript.

/**
 * @typedef {object} Expected
 * @property {string} name  of the output
 * @property {number} low
 * @property {number} high
 * @property {number[][]} values  a few of each probe picture
 */
/** @typedef {{outputs: Expected[], processor?: {kind?: string | null}}} Proof  a manifest's */
/** @typedef {Map<string, Float32Array> | Record<string, Float32Array>} Answers  of all pictures, by output */

const SAMPLES = 32; // the most values that are kept of one output for one picture

/**
 * The output that is furthest from what it was where the file was proved, and how far that is: the root mean square of
 * the differences, as a part of its range; infinite where it is missing, of another shape or not finite.
 * @param {Proof} proof
 * @param {Answers} answers
 * @returns {{output: string, error: number}}
 */
export function difference(proof, answers) {
  const found = proof.outputs.map((expected) => {
    const here = answers instanceof Map ? answers.get(expected.name) : answers[expected.name];
    return { output: expected.name, error: here ? errorOf(here, expected) : Infinity };
  });
  return found.reduce((worst, one) => (one.error > worst.error ? one : worst));
}

/**
 * The probe pictures as a model takes them: they have its size, and are neither resized nor cropped.
 * @param {Uint8Array} rgb  of all pictures
 * @param {"float32" | "uint8"} type
 * @param {{mean: number[], std: number[]}} preprocess  of the manifest's model
 * @returns {Float32Array | Uint8Array}
 */
export function probeInput(rgb, type, { mean, std }) {
  if (type === "uint8") return rgb;
  // One row for each byte there is, each step rounded as float32 rounds it.
  const normalized = mean.map((middle, channel) =>
    Float32Array.from(
      { length: 256 },
      (_, value) => Math.fround(Math.fround(value / 255) - Math.fround(middle)) / Math.fround(std[channel]),
    ),
  );
  return Float32Array.from(rgb, (value, at) => normalized[at % 3][value]);
}

/**
 * The sentence that ends a model which computes something else here; what to do is the caller's to add.
 * @param {string} name
 * @param {string} kernels
 * @param {Proof} proof
 * @param {{output: string, error: number}} worst
 * @param {number} limit
 */
export function refusal(name, kernels, proof, { output, error }, limit) {
  const how = Number.isFinite(error)
    ? `is off by ${short(error)} of its range, allowed is ${short(limit)}`
    : "is missing, of another shape, or holds numbers that are not finite";
  return (
    `${name} computes something else in this browser (${kernels}) than where it was proved ` +
    `(${proof.processor?.kind ?? "unknown class"}): output '${output}' ${how}`
  );
}

/** @param {Float32Array} here @param {Expected} expected */
function errorOf(here, { values, low, high }) {
  const size = here.length / values.length;
  const places = Number.isInteger(size) && size > 0 ? sampled(size) : [];
  if (places.length !== values[0]?.length) return Infinity;
  let sum = 0;
  for (const [picture, row] of values.entries()) {
    for (const [index, there] of row.entries()) sum += (here[picture * size + places[index]] - there) ** 2;
  }
  const rms = Math.sqrt(sum / (values.length * places.length));
  if (!Number.isFinite(rms)) return Infinity;
  return high > low ? rms / (high - low) : rms === 0 ? 0 : Infinity;
}

/** Places evenly spaced over an output, halves to the even one, as numpy rounds. @param {number} size */
function sampled(size) {
  const count = Math.min(size, SAMPLES);
  const step = (size - 1) / Math.max(count - 1, 1);
  return Array.from({ length: count }, (_, index) => (index === count - 1 ? size - 1 : toEven(index * step)));
}

/** @param {number} x */
function toEven(x) {
  const below = Math.floor(x);
  return x - below === 0.5 ? below + (below % 2) : Math.round(x);
}

/** Two digits. @param {number} x */
function short(x) {
  return String(Number(x.toPrecision(2)));
}
