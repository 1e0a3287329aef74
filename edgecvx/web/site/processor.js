// What kind of processor this is, which no browser says, and what WebAssembly has here; and so which engine is the best.

/** @param {string} module  as base64 */
const bytesOf = (module) => Uint8Array.from(atob(module), (letter) => letter.charCodeAt(0));

// (func (export "f") (param f32) (result i32) (i32.reinterpret_f32 (f32.sub (local.get 0) (local.get 0))))
const DIFFERENCE = "AGFzbQEAAAABBgFgAX0BfwMCAQAHBQEBZgAACgoBCAAgACAAk7wL";
// (func (local v128) (drop (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get 0) (local.get 0) (local.get 0))))
const RELAXED = "AGFzbQEAAAABBAFgAAADAgEAChABDgEBeyAAIAAgAP2TAhoL";

/** Whether it is an Arm: infinity minus infinity is a positive NaN there, and a negative one on Intel's and AMD's. */
export function isArm() {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytesOf(DIFFERENCE)));
  return /** @type {(x: number) => number} */ (exports.f)(Infinity) > 0;
}

/** Whether it has relaxed SIMD, with which products of bytes take a third of the instructions. */
export function isRelaxed() {
  return WebAssembly.validate(bytesOf(RELAXED));
}

/**
 * The platform among those that an engine was built for: the fastest that runs here.
 * @param {Record<string, string>} engines
 * @param {number} threads
 */
export function platformFor(engines, threads) {
  const ending = threads > 1 ? "-threads" : "";
  const relaxed = `wasm32-relaxed${ending}`;
  return relaxed in engines && isRelaxed() ? relaxed : `wasm32${ending}`;
}
