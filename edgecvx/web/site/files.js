// What a site consists of: its list of models, and the files of one, each held to what was exported.

import { platformFor } from "./processor.js";

/**
 * A model of models.json.
 * @typedef {object} Entry
 * @property {string} name
 * @property {string} file
 * @property {string} manifest
 * @property {Record<string, string>} engines  by platform
 * @property {string} probes
 * @property {number} limit
 * @property {string} remedy
 * @property {number} bytes
 * @property {Record<string, string>} sha256
 */
/** @typedef {import("./proof.js").Proof} Proof */
/** @typedef {{proof: Proof, model: {preprocess: Preprocess}} & Record<string, unknown>} Manifest */
/** @typedef {{mean: number[], std: number[], exif: string} & Record<string, unknown>} Preprocess  of a manifest */

/** @typedef {(progress: {loaded: number, total: number}) => void} OnProgress */

/** @param {string | URL} site */
export function folderOf(site) {
  const folder = new URL(site, globalThis.document?.baseURI ?? location.href);
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  return folder;
}

/** @param {{schema_version?: number, models?: Entry[]}} list @param {string | undefined} name @returns {Entry} */
export function chosen(list, name) {
  const models = list.models ?? [];
  if (list.schema_version !== 1)
    throw new Error(`models.json is of version ${list.schema_version}, this page reads 1: reload it`);
  const entry = name === undefined ? models[0] : models.find((model) => model.name === name);
  if (!entry)
    throw new Error(
      `there is no model '${name ?? ""}' here, but ${models.map((model) => model.name).join(", ") || "none"}`,
    );
  return entry;
}

/**
 * All that a model consists of, each file held to its SHA-256 where the browser can.
 * @param {URL} folder
 * @param {Entry} entry
 * @param {{threads: number, prove: boolean, signal?: AbortSignal, onProgress?: OnProgress}} how
 */
export async function filesOf(folder, entry, { threads, prove, signal, onProgress }) {
  const get = (/** @type {string} */ name) => checkedBytes(folder, name, entry, signal);
  const [wasm, file, manifest, probes] = await Promise.all([
    compiled(folder, entry.engines[platformFor(entry.engines, threads)], entry, signal),
    checkedBytes(folder, entry.file, entry, signal, onProgress),
    get(entry.manifest),
    prove ? get(entry.probes) : null,
  ]);
  return {
    wasm: wasm.module,
    bytes: file.bytes,
    manifest: /** @type {Manifest} */ (JSON.parse(new TextDecoder().decode(manifest.bytes))),
    probes: probes?.bytes,
    checked: [wasm, file, manifest, probes].every((one) => one?.checked ?? true),
  };
}

/**
 * @param {URL} folder
 * @param {string} name
 * @param {Entry} entry
 * @param {AbortSignal} [signal]
 */
async function compiled(folder, name, entry, signal) {
  const response = await fetched(folder, name, signal);
  const streams = response.headers.get("content-type") === "application/wasm";
  const module = streams ? WebAssembly.compileStreaming(response.clone()) : null;
  module?.catch(() => {}); // what is wrong with other bytes than ours is of no interest
  const bytes = new Uint8Array(await response.arrayBuffer());
  const checked = await check(name, bytes, entry);
  return { module: await (module ?? WebAssembly.compile(bytes)), checked };
}

/**
 * @param {URL} folder
 * @param {string} name
 * @param {Entry} entry
 * @param {AbortSignal} [signal]
 * @param {OnProgress} [onProgress]
 */
async function checkedBytes(folder, name, entry, signal, onProgress) {
  const response = await fetched(folder, name, signal);
  const bytes = new Uint8Array(await (onProgress ? received(response, entry.bytes, onProgress) : response.arrayBuffer()));
  return { bytes, checked: await check(name, bytes, entry) };
}

/** The body, told of as it comes. @param {Response} response @param {number} total @param {OnProgress} onProgress */
async function received(response, total, onProgress) {
  if (!response.body) return response.arrayBuffer();
  const reader = response.body.getReader();
  const parts = [];
  let loaded = 0;
  for (let { done, value } = await reader.read(); !done && value; { done, value } = await reader.read()) {
    parts.push(value);
    loaded += value.length;
    onProgress({ loaded, total });
  }
  return new Blob(parts).arrayBuffer();
}

/**
 * @param {URL} folder
 * @param {string} name
 * @param {AbortSignal} [signal]
 */
export async function fetched(folder, name, signal) {
  const address = new URL(encodeURIComponent(name), folder);
  const response = await fetch(address, { signal }).catch((error) => {
    if (signal?.aborted) throw error;
    throw new Error(`${address} cannot be reached: is this device connected?`);
  });
  if (!response.ok)
    throw new Error(`${address} is not there (HTTP ${response.status}): export the site again, or copy all of it`);
  return response;
}

/**
 * @param {string} name
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {Entry} entry
 * @returns {Promise<boolean>} whether it could be asked
 */
async function check(name, bytes, { sha256 }) {
  const wanted = sha256[name];
  if (!globalThis.crypto?.subtle || !wanted) return false;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== wanted)
    throw new Error(`${name} is not the file that was exported (its SHA-256 is another): copy the site again`);
  return true;
}
