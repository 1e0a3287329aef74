// Which network answers, with how many threads: chosen, loaded, and in a sentence why there is none.

import { shortened, steps, threadsHere } from "./choices.js";
import { load } from "./edgecvx.js";
import { fetched, folderOf } from "./files.js";
import { counted, showLoaded } from "./loaded.js";
import { showPills } from "./parts/pills.js";
import { part, set } from "./parts/text.js";

/** @typedef {import("./edgecvx.js").Model} Model */
/** @typedef {import("./edgecvx.js").Entry} Entry */
/** @typedef {{onReady: (hint: string) => void, onLoading: () => void, onRefused: (sentence: string) => void}} Listeners */

export class Network {
  site = folderOf("./");
  /** @type {Model | null} */
  model = null;
  /** @type {string | null} Why there are no answers at all. */
  refusal = null;
  #listeners;
  /** @type {Entry[]} */
  #entries = [];
  #wanted = { model: "", threads: 1 };
  #opening = new AbortController();

  /** @param {Listeners} listeners */
  constructor(listeners) {
    this.#listeners = listeners;
  }

  /** Opens what is wanted, in place of what is open. */
  async open() {
    this.#opening.abort();
    const { signal } = (this.#opening = new AbortController());
    this.model?.close();
    this.model = null;
    this.refusal = null;
    this.#listeners.onLoading();
    try {
      await this.#list(signal);
      this.#showWaiting();
      const model = await load(this.site, { ...this.#wanted, signal, onProgress: (progress) => this.#showProgress(progress) });
      if (signal.aborted) return model.close();
      this.#ready(model);
    } catch (error) {
      if (!signal.aborted) this.#refused(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {AbortSignal} signal */
  async #list(signal) {
    if (this.#entries.length) return;
    const list = await (await fetched(this.site, "models.json", signal)).json();
    this.#entries = list.models;
    this.#wanted.model ||= this.#entries[0]?.name;
    set(part(document, "#about"), `edgecvx ${list.edgecvx}`);
  }

  /** @param {Model} model */
  #ready(model) {
    this.model = model;
    part(document, "#loading").hidden = true;
    this.#showChoices();
    showLoaded(part(document, "#loaded"), model);
    const classes = counted(model.info.outputs[0].shape[1], "class", "classes");
    this.#listeners.onReady(`Point the camera at something, or choose a picture: the likeliest of ${classes} stand here.`);
  }

  /** @param {string} sentence */
  #refused(sentence) {
    this.refusal = sentence;
    part(document, "#loading").hidden = true;
    this.#showChoices();
    part(document, "#loaded").replaceChildren();
    this.#listeners.onRefused(sentence);
  }

  #showChoices() {
    const models = part(document, "#models");
    models.hidden = this.#entries.length < 2;
    const names = this.#entries.map(({ name }) => name);
    const choices = shortened(names).map((name, i) => ({ value: names[i], name, title: names[i] }));
    showPills(part(models, ".pills"), "model", choices, this.#wanted.model, (model) => this.#choose({ model }));

    const entry = this.#entries.find(({ name }) => name === this.#wanted.model);
    const { most, reason } = threadsHere(Boolean(entry?.engines["wasm32-threads"]));
    const threads = part(document, "#threads");
    threads.hidden = entry === undefined;
    const numbers = steps(most).map((number) => ({ value: String(number), name: String(number) }));
    showPills(part(threads, ".pills"), "threads", numbers, String(this.#wanted.threads), (number) =>
      this.#choose({ threads: Number(number) }),
    );
    set(part(threads, ".reason"), reason);
    part(threads, ".reason").hidden = !reason;
    part(threads, ".pills").hidden = most === 1;
  }

  /** @param {{model?: string, threads?: number}} choice */
  #choose(choice) {
    Object.assign(this.#wanted, choice);
    void this.open();
  }

  #showWaiting() {
    this.#showChoices();
    part(document, "#loading").hidden = false;
    set(part(document, "#loading-text"), `Loading ${this.#wanted.model}…`);
    part(document, "#progress").removeAttribute("value");
  }

  /** @param {{loaded: number, total: number}} progress */
  #showProgress({ loaded, total }) {
    const text = `Loading ${this.#wanted.model}: ${megabytes(loaded)} of ${megabytes(total)} MB`;
    set(part(document, "#loading-text"), loaded < total ? text : `Checking ${this.#wanted.model} on five pictures…`);
    const bar = /** @type {HTMLProgressElement} */ (part(document, "#progress"));
    if (loaded < total) bar.value = loaded / total;
    else bar.removeAttribute("value");
  }
}

/** @param {number} bytes */
function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}
