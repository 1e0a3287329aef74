// What is loaded, and how it is known to be what was exported.

import { make } from "./parts/text.js";

/**
 * @param {HTMLElement} place A list of terms.
 * @param {import("./edgecvx.js").Model} model
 */
export function showLoaded(place, model) {
  const { info, entry, proof } = model;
  const rows = {
    File: entry.file,
    Size: `${(entry.bytes / 1e6).toFixed(1)} MB`,
    Licence: info.license || "not told",
    Input: info.input.shape.slice(1).join(" × "),
    Classes: String(info.outputs[0].shape[1]),
    Engine: `WebAssembly, ${info.kernels}, ${counted(model.threads, "thread")}`,
    Bytes: model.checked ? "as they were exported: SHA-256 is equal" : "not checked: this browser does that over https alone",
    Proof: proof
      ? `answers differ by ${proof.error.toPrecision(2)} at most, of ${proof.limit.toPrecision(2)} allowed`
      : "not run",
    Loaded: `in ${(model.loadMs / 1000).toFixed(1)} s${proof ? `, ${(proof.ms / 1000).toFixed(1)} s of it the proof` : ""}`,
  };
  place.replaceChildren(...Object.entries(rows).map(([term, value]) => row(term, value)));
}

/**
 * @param {string} term
 * @param {string} value
 */
function row(term, value) {
  const made = make("div");
  made.append(make("dt", "", term), make("dd", "", value));
  return made;
}

/**
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export function counted(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}
