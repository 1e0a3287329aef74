// A model that only pretends: answers of a seeded generator, refusals and slowness as models.json asks for them.

/** @param {number} seed */
function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** @param {number} time @param {AbortSignal} [signal] */
async function wait(time, signal) {
  await new Promise((resolve) => setTimeout(resolve, time));
  signal?.throwIfAborted();
}

export async function load(site, { model: name, threads = 1, signal, onProgress = () => {} } = {}) {
  const began = performance.now();
  const { models } = await (await fetch(new URL("models.json", site), { signal })).json();
  const entry = models.find((each) => each.name === name) ?? models[0];
  const { pretend } = entry;
  for (let part = 1; part <= 4; part++) {
    onProgress({ loaded: (entry.bytes * part) / 4, total: entry.bytes });
    await wait(0, signal);
    if (pretend.holds) await new Promise((resolve) => (globalThis.goOn = resolve));
  }
  if (pretend.refusal) throw new Error(pretend.refusal);
  return new Model(entry, globalThis.crossOriginIsolated ? threads : 1, performance.now() - began);
}

export class Model {
  manifest = {};
  proof = { error: 0.0021, limit: 0.05, ms: 40 };
  checked = true;
  #draw;
  #frame = 0;

  constructor(entry, threads, loadMs) {
    const { labels, size, seed } = entry.pretend;
    this.entry = entry;
    this.threads = threads;
    this.loadMs = loadMs;
    this.#draw = random(seed);
    this.info = {
      name: entry.name,
      license: "Apache-2.0",
      kernels: "simd128",
      input: { name: "image", type: "uint8", shape: [1, size, size, 3] },
      outputs: [{ name: "logits", shape: [1, labels.length] }],
      labels,
      weightBytes: entry.bytes,
      arenaBytes: 2_000_000,
      int8Macs: 0.99,
    };
  }

  async classify(source) {
    if (source instanceof Blob && source.size === 0) throw new Error("the picture is empty");
    const infer = this.entry.pretend.inferMs;
    await wait(infer);
    const winner = Math.floor(this.#frame++ / 20) % this.info.labels.length;
    const logits = Float32Array.from(this.info.labels, (_, i) => this.#draw() - i / 2 + (i === winner ? 4 + i / 2 : 0));
    if (this.entry.pretend.overflows) logits[0] = NaN;
    return { top: [], logits, times: { decode: 1.5, prepare: 2, infer }, width: 640, height: 480 };
  }

  close() {}
}
