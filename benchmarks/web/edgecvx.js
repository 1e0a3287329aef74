// The engine, with the modules that every site has.

import { Engine } from "/site/engine.js";

export async function open({ file, threads, build }) {
  const wasm = await WebAssembly.compileStreaming(fetch(`/engine.${build}.wasm`));
  const engine = await Engine.create(wasm, { threads, startThread });
  const model = engine.open(file);
  return async (input) => model.run(input)[0];
}

function startThread(lent) {
  const thread = new Worker("/site/thread.js", { type: "module" });
  return new Promise((resolve, reject) => {
    thread.onmessage = resolve;
    thread.onerror = (event) => reject(new Error(event.message));
    thread.postMessage(lent);
  });
}
