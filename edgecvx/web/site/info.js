// What a model says of itself: `ecvx_info` of edgecvx.h, and its `ecvx_tensor`s, read out of the engine's memory.

/** @typedef {{name: string, type: "float32" | "uint8", shape: number[]}} Input  the number of pictures first */
/** @typedef {{name: string, shape: number[]}} Output */
/**
 * @typedef {object} Info
 * @property {string} name
 * @property {string} license
 * @property {string} kernels  the set that was chosen
 * @property {Input} input
 * @property {Output[]} outputs
 * @property {string[]} labels
 * @property {number} weightBytes
 * @property {number} arenaBytes
 * @property {number} int8Macs  the part of all multiply-accumulates that is INT8
 */

const TYPES = /** @type {const} */ (["float32", "uint8"]);

/**
 * @param {import("./memory.js").Memory} memory
 * @param {number} at
 * @returns {Info}
 */
export function describe(memory, at) {
  const view = memory.view();
  const word = (/** @type {number} */ place) => view.getUint32(place, true);
  const tensor = (/** @type {number} */ place) => ({
    name: memory.text(word(place)),
    type: TYPES[word(place + 4)],
    shape: Array.from({ length: word(place + 8) }, (_, axis) => word(place + 12 + 4 * axis)),
  });
  return {
    name: memory.text(word(at)),
    license: memory.text(word(at + 4)),
    kernels: memory.text(word(at + 8)),
    input: tensor(at + 12),
    outputs: Array.from({ length: word(at + 40) }, (_, index) => {
      const { name, shape } = tensor(word(at + 44) + 28 * index);
      return { name, shape };
    }),
    labels: Array.from({ length: word(at + 48) }, (_, index) => memory.text(word(word(at + 52) + 4 * index))),
    weightBytes: Number(view.getBigInt64(at + 56, true)),
    arenaBytes: Number(view.getBigInt64(at + 64, true)),
    int8Macs: view.getFloat64(at + 72, true),
  };
}
