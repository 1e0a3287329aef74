// The page: one worker per entrant, all of them open at once. Who runs, and when, the script that opened the page says.

const workers = new Map();
let serial = 0;

/** Opens an entrant in a worker of its own: `{runtime, file, layout, threads, build}`. */
export async function open(name, entrant) {
  const worker = new Worker(new URL("worker.js", import.meta.url));
  const waiting = new Map();
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.get(data.serial);
    waiting.delete(data.serial);
    if (data.error) reject(new Error(`${name}: ${data.error}`));
    else resolve(data.value);
  };
  worker.onerror = (event) => waiting.forEach(({ reject }) => reject(new Error(`${name}: ${event.message}`)));
  const call = (method, options) =>
    new Promise((resolve, reject) => {
      waiting.set(++serial, { resolve, reject });
      worker.postMessage({ serial, method, options });
    });
  workers.set(name, { worker, call });
  return call("open", entrant);
}

/** The logits of every picture. */
export function answers(name) {
  return workers.get(name).call("answers");
}

/** Milliseconds of each of so many runs, after one that is not counted. */
export function turn(name, runs) {
  return workers.get(name).call("turn", { runs });
}

/** Ends all workers, and with them their threads. */
export function close() {
  workers.forEach(({ worker }) => worker.terminate());
  workers.clear();
}

globalThis.race = { open, answers, turn, close };
