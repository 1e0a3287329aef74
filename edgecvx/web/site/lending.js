// Threads for an engine: its worker asks for them, and the page starts them. A worker could start another by itself, but
// stands still until the page has agreed, and Firefox forgets that answer now and then.

/**
 * On the page: starts the threads that a worker asks for.
 * @param {Worker} worker
 * @returns {() => void} ends them
 */
export function lendThreads(worker) {
  /** @type {Worker[]} */
  const threads = []; // held: what is no name's may be collected as garbage, and ends then
  worker.addEventListener("message", ({ data: { lend, port } }) => {
    if (!port) return;
    const thread = new Worker(new URL("./thread.js", import.meta.url), { type: "module" });
    threads.push(thread);
    thread.onmessage = () => port.postMessage("");
    thread.onerror = () => port.postMessage("a thread cannot be started: take one thread");
    thread.postMessage(lend);
  });
  return () => threads.forEach((thread) => thread.terminate());
}

/**
 * In a worker: has the page start a thread.
 * @param {import("./engine.js").Lent} lend
 * @returns {Promise<void>}
 */
export function startThread(lend) {
  const { port1, port2 } = new MessageChannel();
  postMessage({ lend, port: port2 }, { transfer: [port2] });
  return new Promise((resolve, reject) => {
    port1.onmessage = ({ data: error }) => (error ? reject(new Error(error)) : resolve());
  });
}
