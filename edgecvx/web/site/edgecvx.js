// A model on a page: loaded, checked, proved, and asked about pictures. All work is done in a worker.

import { Channel, sentenceOf } from "./channel.js";
import { chosen, fetched, filesOf, folderOf } from "./files.js";
import { portable } from "./pictures.js";
import { difference, probeInput, refusal } from "./proof.js";

/** @typedef {import("./engine.js").Info} Info */
/** @typedef {import("./pictures.js").Source} Source */
/** @typedef {import("./files.js").Entry} Entry */
/** @typedef {import("./files.js").Manifest} Manifest */
/** @typedef {{index: number, label: string, probability: number}} Class */
/** @typedef {{decode: number, prepare: number, infer: number}} Times  milliseconds */
/** @typedef {import("./files.js").OnProgress} OnProgress  told of the file's bytes as they come */
/** @typedef {{model?: string, threads?: number, prove?: boolean, signal?: AbortSignal, onProgress?: OnProgress}} LoadOptions */
/** @typedef {{error: number, limit: number, ms: number}} Proved */

/**
 * @param {string | URL} site  the address of the folder
 * @param {LoadOptions} [options]  model: its name, the first by default; threads: more than one only where the page is
 *   isolated
 * @returns {Promise<Model>}
 */
export async function load(site, { model: name, threads = 1, prove = true, signal, onProgress } = {}) {
  const began = performance.now();
  const folder = folderOf(site);
  const entry = chosen(await (await fetched(folder, "models.json", signal)).json(), name);
  const used = globalThis.crossOriginIsolated ? threads : 1;
  const files = await filesOf(folder, entry, { threads: used, prove, signal, onProgress });
  const worker = new Channel();
  const abort = () => worker.end(sentenceOf(signal?.reason));
  signal?.addEventListener("abort", abort);
  try {
    const info = await worker.ask("open", { wasm: files.wasm, bytes: files.bytes, threads: used }, [
      files.bytes.buffer,
    ]);
    const model = new Model(worker, {
      info,
      manifest: files.manifest,
      entry,
      threads: used,
      checked: files.checked,
    });
    if (files.probes) model.proof = await proved(model, files.probes);
    model.loadMs = performance.now() - began;
    signal?.throwIfAborted();
    return model;
  } catch (error) {
    worker.end("this model could not be loaded");
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

export class Model {
  #worker;
  /** @type {Info} */
  info;
  /** @type {Manifest} */
  manifest;
  /** @type {Entry} of models.json */
  entry;
  /** @type {number} */
  threads;
  /** @type {boolean} whether each file was held to its SHA-256, for which a browser wants https or localhost */
  checked;
  /** @type {Proved | null} null where it was not asked for */
  proof = null;
  loadMs = 0;

  /**
   * @param {Channel} worker
   * @param {{info: Info, manifest: Manifest, entry: Entry, threads: number, checked: boolean}} facts
   */
  constructor(worker, { info, manifest, entry, threads, checked }) {
    this.#worker = worker;
    this.info = info;
    this.manifest = manifest;
    this.entry = entry;
    this.threads = threads;
    this.checked = checked;
  }

  /**
   * @param {Source} source
   * @param {{top?: number}} [options]
   * @returns {Promise<{top: Class[], logits: Float32Array, times: Times, width: number, height: number}>}
   */
  async classify(source, { top = 5 } = {}) {
    const { outputs, width, height, times } = await this.#asked("classify", source);
    return { top: best(outputs[0], this.info.labels, top), logits: outputs[0], times, width, height };
  }

  /**
   * @param {Float32Array | Uint8Array} input  one or more pictures as the model takes them
   * @param {number} [pictures]
   * @returns {Promise<Float32Array[]>} one of each output
   */
  async run(input, pictures = 1) {
    return this.#worker.ask("run", { input, pictures });
  }

  /**
   * @param {Source} source
   * @returns {Promise<{input: Float32Array | Uint8Array, width: number, height: number}>}
   */
  async preprocess(source) {
    return this.#asked("preprocess", source);
  }

  close() {
    this.#worker.ask("close", null).then(
      () => this.#worker.end("this model is closed"),
      () => {},
    );
    this.#worker.shut("this model is closed: load it again");
  }

  /** @param {string} task @param {Source} source */
  async #asked(task, source) {
    const began = performance.now();
    const moved = await portable(source);
    const here = performance.now() - began;
    const answer = await this.#worker.ask(task, { source: moved.source }, moved.transfer);
    if (answer.times) answer.times.decode += here;
    return answer;
  }
}

/**
 * Holds a model to what it computed where it was proved.
 * @param {Model} model
 * @param {Uint8Array} probes
 * @returns {Promise<Proved>}
 */
async function proved(model, probes) {
  const began = performance.now();
  const { entry, info, manifest } = model;
  const { type, shape } = info.input;
  const pictures = probes.length / (shape[1] * shape[2] * 3);
  const outputs = await model.run(probeInput(probes, type, manifest.model.preprocess), pictures);
  const worst = difference(manifest.proof, new Map(info.outputs.map(({ name }, index) => [name, outputs[index]])));
  if (!(worst.error <= entry.limit)) {
    throw new Error(`${refusal(entry.name, info.kernels, manifest.proof, worst, entry.limit)}; ${entry.remedy}`);
  }
  return { error: worst.error, limit: entry.limit, ms: performance.now() - began };
}

/** @param {Float32Array} logits @param {string[]} labels @param {number} count @returns {Class[]} */
function best(logits, labels, count) {
  const highest = logits.reduce((most, value) => Math.max(most, value), -Infinity);
  const total = logits.reduce((sum, value) => sum + Math.exp(value - highest), 0);
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
  return order.slice(0, count).map((index) => ({
    index,
    label: labels[index] ?? `class ${index}`,
    probability: Math.exp(logits[index] - highest) / total,
  }));
}
