// A worker with one engine and one model: whatever takes time is done here, and the page stays smooth.

import { Engine } from "./engine.js";
import { startThread } from "./lending.js";
import { pixels } from "./pictures.js";

/** @typedef {import("./engine.js").Info} Info */
/** @typedef {import("./pictures.js").Source} Source */
/** @typedef {{rgb: Uint8Array, width: number, height: number}} Picture */

/**
 * What is asked for, by `task`, and what is answered.
 * @typedef {object} Tasks
 * @property {(asked: {wasm: WebAssembly.Module, bytes: Uint8Array, threads: number}) => Promise<Info>} open
 * @property {(asked: {source: Source | Picture}) => Promise<Classified>} classify
 * @property {(asked: {input: Float32Array | Uint8Array, pictures: number}) => Promise<Float32Array[]>} run
 * @property {(asked: {source: Source | Picture}) => Promise<Prepared>} preprocess
 * @property {() => Promise<null>} close
 */
/** @typedef {{decode: number, prepare: number, infer: number}} Times  milliseconds */
/** @typedef {{outputs: Float32Array[], width: number, height: number, times: Times}} Classified */
/** @typedef {{input: Float32Array | Uint8Array, width: number, height: number}} Prepared */

/** @type {Engine | undefined} */
let engine;
/** @type {import("./engine.js").EngineModel | undefined} */
let model;

/** @type {Tasks} */
const tasks = {
  async open({ wasm, bytes, threads }) {
    engine = await Engine.create(wasm, { threads, startThread });
    model = engine.open(bytes);
    return model.info;
  },

  async classify({ source }) {
    const began = performance.now();
    const { rgb, width, height } = await picture(source);
    const decode = performance.now() - began;
    const { outputs, prepareMs, inferMs } = opened().classify(rgb, width, height);
    spare = rgb;
    return { outputs, width, height, times: { decode, prepare: prepareMs, infer: inferMs } };
  },

  async run({ input, pictures }) {
    return opened().run(input, pictures);
  },

  async preprocess({ source }) {
    const { rgb, width, height } = await picture(source);
    return { input: opened().preprocess(rgb, width, height), width, height };
  },

  async close() {
    engine?.close();
    return null;
  },
};

addEventListener("message", async ({ data: { id, task, asked } }) => {
  try {
    const answer = await tasks[/** @type {keyof Tasks} */ (task)](asked);
    postMessage({ id, answer }, { transfer: arraysOf(answer) });
  } catch (error) {
    postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});

function opened() {
  if (!model) throw new Error("no model is open");
  return model;
}

/** What the last picture lay in: a camera's frames would each leave theirs behind. @type {Uint8Array | undefined} */
let spare;

/** What was sent here is ours alone, and a bitmap's memory waits for no garbage. @param {Source | Picture} source */
async function picture(source) {
  if ("rgb" in source) return source;
  const lent = spare;
  spare = undefined; // another picture may be asked for before this one is done
  try {
    return await pixels(source, lent);
  } finally {
    if (source instanceof ImageBitmap) source.close();
  }
}

/** The arrays of an answer, which are handed over, not copied. @param {unknown} answer @returns {Transferable[]} */
function arraysOf(answer) {
  if (ArrayBuffer.isView(answer)) return [/** @type {ArrayBuffer} */ (answer.buffer)];
  return typeof answer === "object" && answer !== null ? Object.values(answer).flatMap(arraysOf) : [];
}
