// Questions to a worker that times, and its answers; one that takes too long is ended.

import { Channel } from "./channel.js";

export class Timed extends Channel {
  constructor() {
    super(new Worker(new URL("./timed.js", import.meta.url), { type: "module" }));
  }

  /**
   * @param {number} seconds
   * @param {string} task
   * @param {unknown} asked
   * @returns {Promise<any>}
   */
  within(seconds, task, asked) {
    const late = () => this.end(`it did not answer within ${seconds.toFixed(0)} s (${task})`);
    const timer = setTimeout(late, 1000 * seconds);
    return this.ask(task, asked).finally(() => clearTimeout(timer));
  }

  /** @override @param {any} event */
  lost({ message }) {
    return message ? `its worker ended: ${message}` : "its worker could not be started: a file of this page is missing";
  }
}
