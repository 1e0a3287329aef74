// LiteRT.js. It takes its build with relaxed SIMD where the browser has that, and otherwise the one called "compat",
// which has no threads; `build: "compat"` asks for that one where both would run.

const WASM = new URL("/litert/wasm/", location.href).href;

export async function open({ file, shape, threads, build }) {
  const { Tensor, loadAndCompile, loadLiteRt } = await import("/litert/dist/index.js");
  const glue = build ? `litert_wasm_${build}_internal.js` : threads > 1 ? "litert_wasm_threaded_internal.js" : "";
  // In a worker the glue looks for its files beside the worker.
  self.Module = { locateFile: (name) => WASM + name, ...(glue && { mainScriptUrlOrBlob: WASM + glue }) };
  await loadLiteRt(build ? WASM + glue : WASM, { threads: threads > 1 });
  const model = await loadAndCompile(file, { accelerator: "wasm", cpuOptions: { numThreads: threads } });
  return async (input) => {
    const tensor = new Tensor(input, shape);
    const [output] = await model.run([tensor]);
    const logits = output.toTypedArray().slice();
    output.delete();
    tensor.delete();
    return logits;
  };
}
