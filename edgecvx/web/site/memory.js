// The engine's memory: what lies in it is looked at anew each time, since it may have grown meanwhile.

/**
 * @typedef {object} Exports
 * @property {WebAssembly.Memory} [memory]
 * @property {() => number} ecvx_version
 * @property {(index: number) => number} ecvx_kernels
 * @property {(size: number) => number} ecvx_alloc
 * @property {(memory: number) => void} ecvx_release
 * @property {(bytes: number, size: number, options: number, error: number) => number} ecvx_open_memory
 * @property {(model: number) => number} ecvx_describe
 * @property {(model: number, input: number, pictures: number, outputs: number, error: number) => number} ecvx_run
 * @property {(model: number, rgb: number, w: number, h: number, to: number, error: number) => number} ecvx_preprocess
 * @property {(model: number) => void} ecvx_close
 * @property {() => number} [ecvx_thread_make]
 * @property {() => void} [ecvx_threads_end]
 */

const ERROR = 256; // bytes of a sentence
const FIRST_PAGES = 64; // 4 MB
const MOST_PAGES = [16384, 8192, 4096]; // 1 GB of addresses, or what a phone grants; taken only when it is needed

export class Memory {
  #exports;
  #memory;

  /** @param {Exports} exports @param {WebAssembly.Memory} memory */
  constructor(exports, memory) {
    this.#exports = exports;
    this.#memory = memory;
  }

  get size() {
    return this.#memory.buffer.byteLength;
  }

  /** @param {number} size */
  alloc(size) {
    const place = this.#exports.ecvx_alloc(size) >>> 0;
    if (!place)
      throw new Error(
        `there is not enough memory for ${size} bytes more: close other pages, or take a smaller picture`,
      );
    return place;
  }

  /** @param {Uint8Array | Uint8ClampedArray} bytes  that are copied to a place of their own */
  put(bytes) {
    const place = this.alloc(bytes.byteLength);
    this.bytes().set(bytes, place);
    return place;
  }

  bytes() {
    return new Uint8Array(this.#memory.buffer);
  }

  view() {
    return new DataView(this.#memory.buffer);
  }

  /** @param {number} place */
  release(place) {
    this.#exports.ecvx_release(place);
  }

  /** @param {number} place @param {number} count */
  floats(place, count) {
    return new Float32Array(this.#memory.buffer, place, count);
  }

  /** @param {number} place  of a text with a 0 behind it */
  text(place) {
    const bytes = this.bytes();
    const text = bytes.slice(place >>> 0, bytes.indexOf(0, place >>> 0)); // a copy: nothing decodes shared memory
    return new TextDecoder().decode(text);
  }

  /**
   * Calls the engine, and throws its sentence where it refuses.
   * @param {(error: number) => number} call
   * @param {(got: number) => boolean} good
   */
  call(call, good) {
    const error = this.alloc(ERROR);
    try {
      const got = call(error);
      if (good(got)) return got >>> 0;
      throw new Error(this.text(error));
    } finally {
      this.release(error);
    }
  }
}

/** Memory that threads share, as much as there is. */
export function sharedMemory() {
  if (typeof SharedArrayBuffer === "undefined") {
    throw new Error(
      "this page may not share memory between threads: take one thread, or serve it with the isolation headers",
    );
  }
  for (const maximum of MOST_PAGES) {
    try {
      return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared: true });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  throw new Error("this browser has no memory left for threads: close other pages, or take one thread");
}
