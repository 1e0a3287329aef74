// The page as the place where a file answers: pictures come as they were saved, answers go back as they are.

import { falsified } from "./pictures.js";
import { arrayOf } from "./measurement.js";
import { Timed } from "./questions.js";

/** @typedef {{progress: (number: number, of: number, what: string) => void}} Shown */

const PATIENCE = 300; // seconds

export class Answers {
  #conversation;
  #shown;
  /** @type {Timed | null} */
  #worker = null;

  /** @param {import("./conversation.js").Conversation} conversation @param {Shown} shown */
  constructor(conversation, shown) {
    this.#conversation = conversation;
    this.#shown = shown;
  }

  /** @param {Record<string, any>} asked */
  async do(asked) {
    try {
      if (asked.do === "open") await this.#open(asked);
      else if (asked.do === "run") await this.#run(asked);
      else throw new Error("this page is of another version: reload it");
    } catch (error) {
      await this.#reply(asked.task, { error: error instanceof Error ? error.message : String(error) });
    }
  }

  close() {
    this.#worker?.end("it was closed");
    this.#worker = null;
  }

  /** @param {Record<string, any>} asked */
  async #open({ task, artifact }) {
    this.close();
    const threads = artifact.threads ?? 1;
    const lie = await falsified();
    if (lie) throw new Error(lie);
    if (threads > 1 && !globalThis.crossOriginIsolated) throw new Error("more than one thread needs https or localhost: take --threads 1");
    const get = async (/** @type {string} */ name) => (await this.#conversation.file(name)).arrayBuffer();
    const [wasm, file, probes] = await Promise.all([artifact.wasm, artifact.path, artifact.probes].map(get));
    const { preprocess, proof, limit, remedy } = artifact;
    const opening = { wasm, file, threads, preprocess, proof, limit, remedy, logits: null, raw: false, input: null, probes: arrayOf(probes) };
    this.#worker = new Timed();
    const { proof_error, outputs } = await this.#worker.within(PATIENCE, "open", opening);
    await this.#reply(task, { error: null, proof_error, outputs });
  }

  /** @param {Record<string, any>} asked  pictures, by the names of their files */
  async #run({ task, pictures, done, of }) {
    /** @type {Float32Array<ArrayBuffer>[]} */
    const outputs = [];
    /** @type {(string | null)[]} */
    const unread = [];
    for (const name of pictures) {
      const picture = await this.#conversation.file(name);
      try {
        const answer = await this.#worker?.within(PATIENCE, "answer", { picture });
        outputs.push(...answer);
        unread.push(null);
      } catch (error) {
        unread.push(error instanceof Error ? error.message : String(error));
      }
    }
    this.#shown.progress(done + pictures.length, of, "Picture");
    await this.#reply(task, { error: null, unread }, outputs);
  }

  /**
   * A line of JSON, and the numbers behind it.
   * @param {number} task
   * @param {Record<string, unknown>} head
   * @param {Float32Array<ArrayBuffer>[]} [outputs]
   */
  #reply(task, head, outputs = []) {
    return this.#conversation.say(new Blob([`${JSON.stringify({ task, ...head })}\n`, ...outputs]));
  }
}
