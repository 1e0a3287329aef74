// Questions to a worker that times, and its answers; one that takes too long is ended.

/** @typedef {{resolve: (answer: any) => void, reject: (error: Error) => void, timer: ReturnType<typeof setTimeout>}} Waiting */

export class Timed {
  #worker = new Worker(new URL("./timed.js", import.meta.url), { type: "module" });
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #asked = 0;

  constructor() {
    this.#worker.addEventListener("message", ({ data: { id, answer, error } }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      clearTimeout(waiting?.timer);
      if (error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(error));
    });
    this.#worker.addEventListener("error", ({ message }) => this.end(message ? `its worker ended: ${message}` : "its worker could not be started: a file of this page is missing"));
  }

  /**
   * @param {string} task
   * @param {unknown} asked
   * @param {{patience: number, transfer?: Transferable[]}} how  patience in seconds
   * @returns {Promise<any>}
   */
  ask(task, asked, { patience, transfer = [] }) {
    return new Promise((resolve, reject) => {
      const id = this.#asked++;
      const timer = setTimeout(() => this.end(`it did not answer within ${patience.toFixed(0)} s (${task})`), 1000 * patience);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#worker.postMessage({ id, task, asked }, transfer);
    });
  }

  /** Ends the worker; what waits for it is told why. @param {string} sentence */
  end(sentence) {
    this.#worker.terminate();
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new Error(sentence));
    }
    this.#waiting.clear();
  }
}
