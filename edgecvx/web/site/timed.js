// A worker with one file of the engine, which it runs and times; between two turns it sleeps.

import { Engine } from "./engine.js";
import { startThread } from "./lending.js";
import { clockStep } from "./describe.js";
import { pixels } from "./pictures.js";
import { difference, probeInput, refusal } from "./proof.js";

/** @typedef {import("./engine.js").EngineModel} EngineModel */
/** @typedef {Float32Array | Uint8Array} Numbers */
/**
 * What a file is opened with.
 * @typedef {object} Opening
 * @property {ArrayBuffer} wasm
 * @property {ArrayBuffer} file
 * @property {number} threads
 * @property {string} [kernels]
 * @property {Numbers | null} input  of the model alone; null for the first of the probe pictures
 * @property {Numbers} probes  as the model takes them, or RGB
 * @property {boolean} raw  whether the probes are RGB
 * @property {import("./proof.js").Proof} proof
 * @property {number} limit
 * @property {string} remedy
 * @property {{mean: number[], std: number[]}} preprocess
 * @property {string | null} logits  the output whose largest values are the answer
 */

const FIRST_RUNS = 3;
const TOP = 5;
const PARTS = /** @type {const} */ (["decode", "prepare", "infer", "rank"]);
const BLOCK = Uint32Array.from({ length: 4096 }, (_, at) => Math.imul(at, 2654435761)); // fits the first-level cache
const PASSES = 384; // some 3 ms on a desk, 10 on a phone
const COARSE = 500_000; // ns: on a clock that steps by more, the yardstick is made longer
const step = clockStep();

/** @type {{model: EngineModel, opening: Opening, input: Numbers} | undefined} */
let opened;
/** @type {Blob[]} */
let pictures = [];
let next = 0;

/** @type {Record<string, (asked: any) => any>} */
const tasks = {
  /** @param {Opening} opening */
  async open(opening) {
    const engine = await Engine.create(opening.wasm, { threads: opening.threads, startThread });
    const bytes = new Uint8Array(opening.file);
    const began = performance.now();
    const model = engine.open(bytes, { threads: opening.threads, ...(opening.kernels && { kernels: opening.kernels }) });
    const load = performance.now() - began;
    const probes = opening.raw ? probeInput(/** @type {Uint8Array} */ (opening.probes), model.info.input.type, opening.preprocess) : opening.probes;
    const input = opening.input ?? batchOf(model, probes);
    const first = timed(() => model.run(input, batch(model)));
    opened = { model, opening, input };
    for (let i = 0; i < 20; i++) yardstick(); // until the browser has compiled it
    const { kernels, outputs } = model.info;
    return { load_ns: ns(load), first_ns: first, kernels, outputs, threads: opening.threads, proof_error: proved(opened, probes) };
  },

  async warm({ window, tolerance, max_runs, max_seconds }) {
    const { model, input } = file();
    const samples = [];
    const until = performance.now() + 1000 * max_seconds;
    for (let before = 0; ; ) {
      samples.push(timed(() => model.run(input, batch(model))));
      if (samples.length % window === 0) {
        const now = median(samples.slice(-window));
        if (before && Math.abs(now - before) <= tolerance * before) return { samples_ns: samples, steady: true };
        before = now;
      }
      if (samples.length >= max_runs || performance.now() >= until) return { samples_ns: samples, steady: false };
    }
  },

  /** Makes end to end ready; says in words why there is none. @param {{pictures: Blob[]}} asked */
  async prepare(asked) {
    const { model, opening } = file();
    if (!model.info.outputs.some(({ name }) => name === opening.logits)) return { note: "this file has no output that ranks classes" };
    if (!asked.pictures.length) return { note: "there are no pictures to measure with" };
    pictures = asked.pictures;
    next = 0;
    try {
      for (let i = 0; i < Math.max(FIRST_RUNS, Math.ceil(pictures.length / batch(model))); i++) await wholeWay(partsOf());
    } catch (error) {
      return { note: error instanceof Error ? error.message : String(error) };
    }
    return { note: null };
  },

  async turn({ kind, runs, seconds, settle, yard }) {
    const { model, input } = file();
    const parts = partsOf();
    const yardstick_ns = yard ? yardstick() : null;
    const sample = kind === "model" ? () => timed(() => model.run(input, batch(model))) : () => wholeWay(parts);
    const settling = [];
    for (let i = 0; i < settle; i++) settling.push(await sample());
    for (const times of Object.values(parts)) times.length = 0;
    const samples = await repeated(sample, runs, seconds);
    return { yardstick_ns, samples_ns: samples, parts_ns: kind === "model" ? {} : parts, settle_ns: settling };
  },

  /** The outputs for a picture file, one behind the other. @param {{picture: Blob}} asked */
  async answer({ picture }) {
    const { model } = file();
    const { rgb, width, height } = await pixels(picture);
    const input = model.preprocess(rgb, width, height);
    return model.run(input, 1);
  },
};

addEventListener("message", async ({ data: { id, task, asked } }) => {
  try {
    postMessage({ id, answer: await tasks[task](asked) });
  } catch (error) {
    postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});

function file() {
  if (!opened) throw new Error("the file was not opened");
  return opened;
}

/** Pictures a run. @param {EngineModel} model */
function batch(model) {
  return model.info.input.shape[0];
}

/** As many of the probe pictures as a run takes. @param {EngineModel} model @param {Numbers} probes */
function batchOf(model, probes) {
  const size = model.info.input.shape.slice(1).reduce((product, side) => product * side, 1);
  const made = new /** @type {any} */ (probes.constructor)(size * batch(model));
  for (let at = 0; at < made.length; at += size) made.set(probes.subarray(at % probes.length, (at % probes.length) + size), at);
  return /** @type {Numbers} */ (made);
}

/**
 * How far the file is from what it computed where it was proved; it does not go on where that is too far.
 * @param {{model: EngineModel, opening: Opening}} opened
 * @param {Numbers} probes
 */
function proved({ model, opening: { proof, limit, remedy } }, probes) {
  const outputs = model.run(probes, proof.outputs[0].values.length);
  const worst = difference(proof, new Map(model.info.outputs.map(({ name }, index) => [name, outputs[index]])));
  if (!(worst.error <= limit)) throw new Error(`${refusal("it", model.info.kernels, proof, worst, limit)}; ${remedy}`);
  return worst.error;
}

/** From the bytes of picture files to the likeliest classes, each part timed. @param {Record<string, number[]>} parts */
async function wholeWay(parts) {
  const { model } = file();
  const inputs = [];
  let decode = 0;
  let prepare = 0;
  const started = performance.now();
  let now = started;
  for (let i = 0; i < batch(model); i++) {
    const { rgb, width, height } = await pixels(pictures[next++ % pictures.length]);
    const decoded = performance.now();
    inputs.push(model.preprocess(rgb, width, height));
    const cropped = performance.now();
    decode += decoded - now;
    prepare += cropped - decoded;
    now = cropped;
  }
  const outputs = model.run(joined(inputs), batch(model));
  const inferred = performance.now();
  ranked(model, outputs);
  const ended = performance.now();
  [decode, prepare, inferred - now, ended - inferred].forEach((took, index) => parts[PARTS[index]].push(ns(took)));
  return measured(ended - started);
}

/** @param {Numbers[]} inputs @returns {Numbers} */
function joined(inputs) {
  if (inputs.length === 1) return inputs[0];
  const made = new /** @type {any} */ (inputs[0].constructor)(inputs.length * inputs[0].length);
  inputs.forEach((input, index) => made.set(input, index * input.length));
  return made;
}

/** @param {EngineModel} model @param {Float32Array[]} outputs @returns {number[][]} */
function ranked(model, outputs) {
  const logits = outputs[model.info.outputs.findIndex(({ name }) => name === file().opening.logits)];
  const size = logits.length / batch(model);
  return Array.from({ length: batch(model) }, (_, row) => {
    const values = logits.subarray(row * size, (row + 1) * size);
    return Array.from(values.keys()).sort((a, b) => values[b] - values[a]).slice(0, TOP);
  });
}

/** @returns {Record<string, number[]>} */
function partsOf() {
  return Object.fromEntries(PARTS.map((part) => [part, []]));
}

/** @param {() => number | Promise<number>} sample @param {number | null} runs @param {number | null} seconds */
async function repeated(sample, runs, seconds) {
  const samples = [];
  if (runs !== null) {
    for (let i = 0; i < runs; i++) samples.push(await sample());
    return samples;
  }
  const until = performance.now() + 1000 * (seconds ?? 0);
  do samples.push(await sample());
  while (performance.now() < until);
  return samples;
}

/** @param {() => void} run */
function timed(run) {
  const began = performance.now();
  run();
  return measured(performance.now() - began);
}

/** A run's time; where the clock did not even step meanwhile, there is none. @param {number} ms */
function measured(ms) {
  if (ms > 0) return ns(ms);
  throw new Error(`a run takes less than the clock of this browser tells (steps of ${step / 1e6} ms): a page over https or localhost gets a finer one`);
}

/** A fixed piece of work that has nothing to do with any model: what it varies by is the device's own doing. */
function yardstick() {
  const passes = step > COARSE ? 8 * PASSES : PASSES;
  const began = performance.now();
  let mixed = 0x811c9dc5;
  for (let pass = 0; pass < passes; pass++) {
    for (let at = 0; at < BLOCK.length; at++) {
      mixed = Math.imul(mixed ^ BLOCK[at], 0x01000193);
      mixed ^= mixed >>> 15;
    }
  }
  const took = performance.now() - began;
  return Math.max(1, ns(took) + (mixed === 0 ? 1 : 0)); // the sum is used, so that the work is done
}

/** @param {number} ms */
function ns(ms) {
  return Math.round(ms * 1e6);
}

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}
