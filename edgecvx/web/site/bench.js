// The page measures by itself: no computer beside it, and a file in the end that `edgecvx report` reads.

import { Attention } from "./attention.js";
import { describe } from "./describe.js";
import { Measurement } from "./measurement.js";
import { LENGTHS, drawnPicture, fetched, listed, ordered } from "./plan.js";
import { make, set } from "./parts/text.js";

/** @typedef {Record<string, any>} Event */

const KEPT = "edgecvx-browser"; // in localStorage: a random word, by which a report knows this browser again

/**
 * Fills a place on the page with all that is needed to measure.
 * @param {HTMLElement} element
 * @param {string | URL} [site]  the address of the folder
 */
export function panel(element, site = document.baseURI) {
  return new Panel(element, new URL(site, document.baseURI).href);
}

class Panel {
  #element;
  #site;
  #length = make("select");
  #start = make("button", "", "Measure");
  #save = make("button", "", "Save as JSON");
  #say = make("p", "measure-note", "Nothing leaves this device. Plug it in, and leave this page in front.");
  #bar = make("progress", "measure-bar");
  #table = make("div", "measure-table");
  #attention = new Attention(() => {});
  /** @type {{order: import("./measurement.js").Order, events: Event[]} & Record<string, any> | null} */
  #saved = null;
  /** @type {import("./measurement.js").Host | null} */
  #host = null;
  /** @type {Measurement | null} */
  #measurement = null;

  /** @param {HTMLElement} element @param {string} site */
  constructor(element, site) {
    this.#element = element;
    this.#site = site;
    const sheet = make("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("./measure.css", import.meta.url).href;
    document.head.append(sheet);
    for (const [name, { runs, rounds }] of Object.entries(LENGTHS)) {
      const option = make("option", "", `${name}: ${runs} runs in ${rounds} rounds`);
      option.value = name;
      this.#length.append(option);
    }
    const label = make("label", "", "Length ");
    label.append(this.#length);
    this.#start.type = this.#save.type = "button";
    this.#start.addEventListener("click", () => (this.#host ? this.#stop() : this.#run()));
    this.#save.addEventListener("click", () => this.#download());
    this.#bar.ariaLabel = "Progress";
    this.#say.setAttribute("role", "status");
    this.#save.hidden = this.#bar.hidden = true;
    const actions = make("div", "actions");
    actions.append(label, this.#start, this.#save);
    const place = make("div", "measure-panel");
    place.append(actions, this.#say, this.#bar, this.#table);
    element.replaceChildren(place);
  }

  async #run() {
    this.#tell(true);
    this.#save.hidden = true;
    set(this.#start, "Stop");
    try {
      await this.#attention.keepAwake(true);
      set(this.#say, "Loading the files…");
      this.#host = this.#made();
      const { edgecvx, models, manifests } = await listed(this.#site);
      const order = ordered(models, manifests, LENGTHS[this.#length.value]);
      this.#saved = savedOf(edgecvx, order, manifests, await describe());
      this.#measurement = new Measurement(order, this.#host);
      await this.#measurement.run();
      set(this.#say, this.#host.stopping ? "Stopped." : "Done. Saved as JSON, edgecvx report FILE reads it.");
      this.#save.hidden = this.#host.stopping;
    } catch (error) {
      set(this.#say, error instanceof Error ? error.message : String(error));
    } finally {
      this.#host = null;
      this.#bar.hidden = true;
      set(this.#start, "Measure");
      await this.#attention.keepAwake(false);
      this.#tell(false);
    }
  }

  /** Tells the page around it, whose camera rests meanwhile. @param {boolean} measuring */
  #tell(measuring) {
    this.#element.dispatchEvent(new CustomEvent("measuring", { bubbles: true, detail: measuring }));
  }

  #stop() {
    if (this.#host) this.#host.stopping = true;
    this.#measurement?.stop();
  }

  /** @returns {import("./measurement.js").Host} */
  #made() {
    return {
      attention: this.#attention,
      stopping: false,
      raw: true,
      send: (event) => this.#take(event),
      fetch: async (name) => (name.startsWith("drawn ") ? drawnPicture(Number(name.slice(6))) : (await fetched(this.#site, name)).blob()),
    };
  }

  /** @param {Event} event */
  #take(event) {
    this.#saved?.events.push(event);
    if (event.event === "opened") set(this.#say, "Warming up…");
    if (event.event === "round") {
      this.#bar.hidden = false;
      this.#bar.max = event.of;
      this.#bar.value = event.round;
      set(this.#say, `Round ${event.round} of ${event.of}`);
    }
    if (["round", "error"].includes(event.event)) this.#draw();
  }

  #draw() {
    if (!this.#saved) return;
    const table = make("table");
    const head = make("tr");
    for (const name of ["model", "threads", "median", "range", "end to end", "runs"]) head.append(make("th", "", name));
    table.append(head);
    for (const { id, path, threads } of this.#saved.order.artifacts) {
      const row = make("tr");
      for (const text of [path, String(threads ?? 1), ...figures(this.#saved.events, id)]) row.append(make("td", "", text));
      table.append(row);
    }
    this.#table.replaceChildren(table);
  }

  #download() {
    const link = make("a");
    const { order: _, ...content } = this.#saved ?? {};
    link.href = URL.createObjectURL(new Blob([JSON.stringify(content)], { type: "application/json" }));
    link.download = `edgecvx-browser-${new Date().toISOString().slice(0, 16).replace(/\W/g, "")}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

/**
 * What is saved: what the page was asked for and all that it told, with the manifests it told it of.
 * @param {string} edgecvx
 * @param {import("./measurement.js").Order} order
 * @param {Record<string, any>[]} manifests
 * @param {import("./describe.js").Told} browser
 */
function savedOf(edgecvx, order, manifests, browser) {
  const { rounds, runs } = order;
  const threads = order.artifacts.length / manifests.length;
  return {
    ...{ schema_version: 1, kind: "browser-benchmark", edgecvx, browser, kept: keptWord(), rounds, runs, order },
    artifacts: order.artifacts.map(({ threads: number }, index) => ({ manifest: Math.floor(index / threads), threads: number })),
    manifests,
    events: /** @type {Event[]} */ ([]),
  };
}

/** @returns {string | null} null where this browser keeps nothing */
function keptWord() {
  try {
    const known = localStorage.getItem(KEPT);
    const word = known ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem(KEPT, word);
    return word;
  } catch {
    return null;
  }
}

/** The median of one file, the range, the whole way's median, and the runs. @param {Event[]} events @param {string} id */
function figures(events, id) {
  const failed = events.find((event) => event.event === "error" && event.id === id);
  if (failed) return [failed.sentence];
  const of = (/** @type {string} */ kind) => {
    const turns = events.filter((event) => event.event === "turn" && event.id === id && event.kind === kind);
    return turns.flatMap(({ turn }) => turn.samples_ns).sort((a, b) => a - b);
  };
  const [model, whole] = [of("model"), of("end_to_end")];
  const middle = (/** @type {number[]} */ sorted) => (sorted.length ? ms(sorted[Math.floor((sorted.length - 1) / 2)]) : "–");
  if (!model.length) return ["–", "–", "–", "0"];
  return [middle(model), `${ms(model[0])} to ${ms(model[model.length - 1])}`, middle(whole), String(model.length)];
}

/** @param {number} ns */
function ms(ns) {
  const time = ns / 1e6;
  return `${time.toFixed(time < 1 ? 2 : time < 100 ? 1 : 0)} ms`;
}
