// Lends the engine one more thread: the same module on the same memory, with a stack of its own. Ends with the engine.

/**
 * @param {import("./engine.js").Lent} lent
 * @param {() => void} onReady  called before it begins to wait for work, which it does until the engine is closed
 */
export async function lend({ module, memory, place }, onReady) {
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  /** @type {WebAssembly.Global} */ (exports.__stack_pointer).value = place;
  onReady();
  /** @type {(place: number) => void} */ (exports.ecvx_thread_work)(place);
}

if ("DedicatedWorkerGlobalScope" in globalThis) {
  addEventListener("message", async ({ data }) => {
    await lend(data, () => postMessage("ready"));
    close();
  });
}
