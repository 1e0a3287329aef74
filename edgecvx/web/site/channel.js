// Questions to the worker, and its answers.

import { lendThreads } from "./lending.js";

export class Channel {
  #worker;
  /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();
  #endThreads;
  #asked = 0;
  #closed = "";

  /** @param {Worker} [worker] */
  constructor(worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" })) {
    this.#worker = worker;
    this.#endThreads = lendThreads(worker);
    worker.addEventListener("message", ({ data: { id, answer, error } }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(error));
    });
    for (const name of ["error", "messageerror"]) worker.addEventListener(name, (event) => this.end(this.lost(event)));
  }

  /**
   * @param {string} task
   * @param {unknown} asked
   * @param {Transferable[]} [transfer]
   * @returns {Promise<any>}
   */
  ask(task, asked, transfer = []) {
    if (this.#closed) return Promise.reject(new Error(this.#closed));
    return new Promise((resolve, reject) => {
      const id = this.#asked++;
      this.#worker.postMessage({ id, task, asked }, transfer); // throws where something cannot be handed over
      this.#waiting.set(id, { resolve, reject });
    });
  }

  /** Why it has ended. @param {any} event */
  lost(event) {
    return `the worker has ended: ${sentenceOf(event)}`;
  }

  /** Takes no question more. @param {string} sentence */
  shut(sentence) {
    this.#closed ||= sentence;
  }

  /** Ends the worker; what waits for it is told why. @param {string} sentence */
  end(sentence) {
    this.shut(sentence);
    this.#worker.terminate();
    this.#endThreads();
    for (const { reject } of this.#waiting.values()) reject(new Error(sentence));
    this.#waiting.clear();
  }
}

/** @param {any} reason */
export function sentenceOf(reason) {
  return reason?.message || "it was stopped";
}
