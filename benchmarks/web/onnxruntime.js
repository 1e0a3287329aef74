// ONNX Runtime Web on the processor. Its package has one such build: SIMD without the relaxed operations.

export async function open({ file, shape, threads }) {
  const ort = await import("/onnxruntime/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("/onnxruntime/", location.href).href;
  ort.env.wasm.numThreads = threads;
  const session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
  const [name] = session.inputNames;
  return async (input) => {
    const outputs = await session.run({ [name]: new ort.Tensor("float32", input, shape) });
    const output = outputs[session.outputNames[0]];
    const logits = output.data.slice();
    output.dispose();
    return logits;
  };
}
