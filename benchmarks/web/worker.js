// One entrant. A classic worker: LiteRT.js loads its glue by importScripts, which a module worker does not have.

const SIDE = 224;
const REST = 60; // ms: threads of the entrant before wait for work for a while before they sleep

let run, inputs;

const methods = {
  async open({ runtime, file, layout, threads, build }) {
    const { open } = await import(`./${runtime}.js`);
    const { pictures } = await import("./pictures.js");
    inputs = pictures(await bytes("/pictures.bin"), SIDE, layout);
    const began = performance.now();
    run = await open({ file: await bytes(file), shape: shapes[layout], threads, build });
    await run(inputs[0]);
    return performance.now() - began;
  },

  async answers() {
    const rows = [];
    for (const input of inputs) rows.push(Array.from(await run(input)));
    return rows;
  },

  async turn({ runs }) {
    await new Promise((done) => setTimeout(done, REST));
    await run(inputs[0]); // brings weights and code back into the caches
    const times = [];
    for (let i = 0; i < runs; i++) {
      const input = inputs[i % inputs.length];
      const began = performance.now();
      await run(input);
      times.push(performance.now() - began);
    }
    return times;
  },
};

const shapes = { NCHW: [1, 3, SIDE, SIDE], NHWC: [1, SIDE, SIDE, 3] };

async function bytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

onmessage = async ({ data: { serial, method, options } }) => {
  try {
    postMessage({ serial, value: await methods[method](options) });
  } catch (error) {
    postMessage({ serial, error: String(error?.stack ?? error) });
  }
};
