// The engine in Node, for tests: what thread.js needs of a browser, and arrays in files. One argument: a folder.

import { readFileSync, writeFileSync } from "node:fs";
import { argv } from "node:process";
import { Worker } from "node:worker_threads";
import { Engine } from "../../edgecvx/web/site/engine.js";

export const folder = argv[2];
export const read = (name) => readFileSync(`${folder}/${name}`);
export const floats = (name) => new Float32Array(new Uint8Array(read(name)).buffer);
export const write = (name, array) => writeFileSync(`${folder}/${name}`, new Uint8Array(array.buffer));
export const say = (value) => console.log(JSON.stringify(value));

/** An engine with as many threads; `ended` grows by one with each that ends. */
export const ended = { threads: 0 };
export function engine(wasm, threads = 1) {
  return Engine.create(read(wasm), { threads, startThread });
}

/** The sentence of what a call throws. */
export async function refusal(call) {
  try {
    await call();
  } catch (error) {
    return error.message;
  }
  return null;
}

function startThread(lent) {
  const module = JSON.stringify(new URL("../../edgecvx/web/site/thread.js", import.meta.url).href);
  const script = `
    const { parentPort } = require("node:worker_threads");
    parentPort.once("message", async (lent) => {
      const { lend } = await import(${module});
      await lend(lent, () => parentPort.postMessage("ready"));
      process.exit();
    });`;
  const thread = new Worker(script, { eval: true });
  thread.once("exit", () => (ended.threads += 1));
  return new Promise((resolve, reject) => {
    thread.once("message", resolve);
    thread.once("error", reject);
    thread.postMessage(lent);
  });
}
