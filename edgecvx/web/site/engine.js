// The engine as a worker or Node calls it: arrays and sentences on this side, WebAssembly's pointers on the other.

import { describe } from "./info.js";
import { Memory, sharedMemory } from "./memory.js";
import { isArm } from "./processor.js";

/** @typedef {import("./info.js").Info} Info */
/** @typedef {import("./memory.js").Exports} Exports */
/** @typedef {{module: WebAssembly.Module, memory: WebAssembly.Memory, place: number}} Lent  what thread.js takes */
/** @typedef {{threads?: number, startThread?: (message: Lent) => Promise<unknown>}} CreateOptions */
/** @typedef {{outputs: Float32Array[], prepareMs: number, inferMs: number}} Answer */

const VERSION = 1; // of edgecvx.h, whose structures are read here
const FOR_ARM = "simd128bytes"; // half the instructions there, and twice as many elsewhere

export class Engine {
  #exports;
  #memory;
  #threads;
  /** @type {Set<EngineModel>} */
  #models = new Set();

  /**
   * @param {Exports} exports
   * @param {WebAssembly.Memory} memory
   * @param {number} threads
   */
  constructor(exports, memory, threads) {
    this.#exports = exports;
    this.#memory = new Memory(exports, memory);
    this.#threads = threads;
  }

  /**
   * @param {BufferSource | WebAssembly.Module} wasm
   * @param {CreateOptions} [options]  several threads need the wasm32-threads build, and `startThread`, which has
   *   thread.js lend one
   * @returns {Promise<Engine>}
   */
  static async create(wasm, { threads = 1, startThread } = {}) {
    const module = wasm instanceof WebAssembly.Module ? wasm : await WebAssembly.compile(wasm);
    const shares = WebAssembly.Module.imports(module).some(({ kind }) => kind === "memory");
    if (threads > 1 && !shares) {
      throw new Error(`this build of the engine runs in one thread, not ${threads}: take wasm32-threads`);
    }
    const memory = shares ? sharedMemory() : undefined;
    const instance = await WebAssembly.instantiate(module, memory ? { env: { memory } } : {});
    const exports = /** @type {Exports} */ (/** @type {unknown} */ (instance.exports));
    const found = exports.ecvx_version?.();
    if (found !== VERSION) {
      throw new Error(`this is version ${found} of the engine, not ${VERSION}: take the one that came with this page`);
    }
    const used = /** @type {WebAssembly.Memory} */ (memory ?? exports.memory);
    await lendThreads(exports, { module, memory: used }, threads - 1, startThread);
    return new Engine(exports, used, threads);
  }

  get version() {
    return this.#exports.ecvx_version();
  }

  /** Bytes of memory that it has taken so far. */
  get memoryBytes() {
    return this.#memory.size;
  }

  /** @returns {string[]} the sets of kernels, best first */
  kernels() {
    const names = [];
    for (let at; (at = this.#exports.ecvx_kernels(names.length));) names.push(this.#memory.text(at));
    return names;
  }

  /**
   * @param {Uint8Array} bytes  of an .ecvx file
   * @param {{threads?: number, kernels?: string}} [options]
   * @returns {EngineModel}
   */
  open(bytes, { threads = this.#threads, kernels = this.#preferred() } = {}) {
    if (threads > this.#threads)
      throw new Error(`this engine was made for ${this.#threads} threads, not for ${threads}`);
    const memory = this.#memory;
    const places = [memory.put(bytes)];
    try {
      if (kernels !== undefined) places.push(memory.put(new TextEncoder().encode(`${kernels}\0`)));
      const options = memory.put(new Uint8Array(Int32Array.of(threads, places[1] ?? 0).buffer));
      places.push(options);
      const open = (/** @type {number} */ error) =>
        this.#exports.ecvx_open_memory(places[0], bytes.length, options, error);
      const handle = memory.call(open, (got) => got !== 0);
      const model = new EngineModel(this.#exports, memory, handle, () => this.#models.delete(model));
      this.#models.add(model);
      return model;
    } finally {
      for (const place of places.reverse()) memory.release(place);
    }
  }

  /** The kernels to take where none are asked for; undefined leaves it to the engine. */
  #preferred() {
    return isArm() && this.kernels().includes(FOR_ARM) ? FOR_ARM : undefined;
  }

  /** Closes its models, and lets its threads end. */
  close() {
    for (const model of this.#models) model.close();
    this.#exports.ecvx_threads_end?.();
    this.#threads = 1;
  }
}

/** A model that is open; see `Engine.open`. */
export class EngineModel {
  #exports;
  #memory;
  #handle;
  #forget;
  #room; // for one picture: its input; and pointers to outputs, with the outputs behind them
  #picture = { place: 0, size: 0 };
  /** @type {Info} */
  info;

  /**
   * @param {Exports} exports
   * @param {Memory} memory
   * @param {number} handle
   * @param {() => void} forget
   */
  constructor(exports, memory, handle, forget) {
    this.#exports = exports;
    this.#memory = memory;
    this.#handle = handle;
    this.#forget = forget;
    this.info = describe(memory, exports.ecvx_describe(handle) >>> 0);
    this.#room = { input: memory.alloc(this.#inputBytes), outputs: memory.alloc(this.#outputBytes(1)) };
  }

  /**
   * One picture, resized, cropped and normalized as the file says.
   * @param {Uint8Array | Uint8ClampedArray} rgb
   * @param {number} width
   * @param {number} height
   * @returns {Float32Array | Uint8Array}
   */
  preprocess(rgb, width, height) {
    this.#prepare(rgb, width, height);
    const values = this.#memory.bytes().slice(this.#room.input, this.#room.input + this.#inputBytes);
    return this.info.input.type === "uint8" ? values : new Float32Array(values.buffer);
  }

  /**
   * @param {Float32Array | Uint8Array} input  one or more pictures, one behind the other
   * @param {number} [pictures]
   * @returns {Float32Array[]} one of each output
   */
  run(input, pictures = 1) {
    const bytes = new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
    const wanted = this.info.input.type === "uint8" ? Uint8Array : Float32Array;
    if (!(input instanceof wanted) || bytes.length !== pictures * this.#inputBytes) {
      const shape = [pictures, ...this.info.input.shape.slice(1)].join(" x ");
      throw new Error(
        `the model takes ${this.info.input.type} ${shape}, not ${input.length} of ${input.constructor.name}`,
      );
    }
    if (pictures === 1) {
      this.#memory.bytes().set(bytes, this.#room.input);
      return this.#run(this.#room.input, this.#room.outputs, 1);
    }
    const places = [this.#memory.put(bytes)];
    try {
      places.push(this.#memory.alloc(this.#outputBytes(pictures)));
      return this.#run(places[0], places[1], pictures);
    } finally {
      for (const place of places.reverse()) this.#memory.release(place);
    }
  }

  /**
   * @param {Uint8Array | Uint8ClampedArray} rgb
   * @param {number} width
   * @param {number} height
   * @returns {Answer}
   */
  classify(rgb, width, height) {
    const began = performance.now();
    this.#prepare(rgb, width, height);
    const prepared = performance.now();
    const outputs = this.#run(this.#room.input, this.#room.outputs, 1);
    return { outputs, prepareMs: prepared - began, inferMs: performance.now() - prepared };
  }

  close() {
    if (!this.#handle) return;
    for (const place of [this.#picture.place, this.#room.outputs, this.#room.input]) this.#memory.release(place);
    this.#exports.ecvx_close(this.#handle);
    this.#handle = 0;
    this.#forget();
  }

  get #inputBytes() {
    return count(this.info.input.shape) * (this.info.input.type === "uint8" ? 1 : 4);
  }

  /** @param {number} pictures */
  #outputBytes(pictures) {
    return this.info.outputs.reduce((sum, { shape }) => sum + 4 * (1 + pictures * count(shape)), 0);
  }

  /** @param {Uint8Array | Uint8ClampedArray} rgb @param {number} width @param {number} height */
  #prepare(rgb, width, height) {
    this.#check();
    if (!(width > 0 && height > 0)) throw new Error(`a picture of ${width} x ${height} pixels is none`);
    const size = width * height * 3;
    if (rgb.length !== size || !Number.isInteger(size)) {
      throw new Error(`a picture of ${width} x ${height} pixels has ${size} bytes of RGB, not ${rgb.length}`);
    }
    if (size > this.#picture.size) this.#makeRoom(size);
    this.#memory.bytes().set(rgb, this.#picture.place);
    const { place } = this.#picture;
    const { input } = this.#room;
    const prepare = (/** @type {number} */ error) =>
      this.#exports.ecvx_preprocess(this.#handle, place, width, height, input, error);
    this.#memory.call(prepare, (got) => got === 0);
  }

  /** Of the largest picture so far: a camera's pictures have one size. @param {number} size */
  #makeRoom(size) {
    this.#memory.release(this.#picture.place);
    this.#picture = { place: 0, size: 0 };
    this.#picture = { place: this.#memory.alloc(size), size };
  }

  /** @param {number} input @param {number} room @param {number} pictures */
  #run(input, room, pictures) {
    this.#check();
    let at = room + 4 * this.info.outputs.length;
    const places = this.info.outputs.map(({ shape }) => {
      const size = pictures * count(shape);
      at += 4 * size;
      return { place: at - 4 * size, size };
    });
    const view = this.#memory.view();
    places.forEach(({ place }, index) => view.setUint32(room + 4 * index, place, true));
    const run = (/** @type {number} */ error) => this.#exports.ecvx_run(this.#handle, input, pictures, room, error);
    this.#memory.call(run, (got) => got === 0);
    return places.map(({ place, size }) => this.#memory.floats(place, size).slice());
  }

  #check() {
    if (!this.#handle) throw new Error("this model is closed: open it again");
  }
}

/** Numbers of one picture. @param {number[]} shape */
function count(shape) {
  return shape.slice(1).reduce((product, side) => product * side, 1);
}

/**
 * Has threads lent to an engine; each is given a place in its memory.
 * @param {Exports} exports
 * @param {Omit<Lent, "place">} engine
 * @param {number} count
 * @param {CreateOptions["startThread"]} startThread
 */
async function lendThreads(exports, engine, count, startThread) {
  if (count > 0 && !startThread) throw new Error("threads are lent by thread.js, which startThread has to start");
  const places = Array.from({ length: count }, () => (exports.ecvx_thread_make?.() ?? 0) >>> 0);
  if (places.includes(0)) throw new Error(`there is no memory for ${count + 1} threads: take fewer`);
  await Promise.all(places.map((place) => startThread?.({ ...engine, place })));
}
