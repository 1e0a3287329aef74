// Measures what an order asks for, in turns that treat every file alike: what edgecvx/board/runner does on a board.

import { Timed } from "./questions.js";

/**
 * @typedef {object} Ordered
 * @property {string} id
 * @property {number | null} threads
 * @property {Record<string, string>} options
 * @property {string} path
 * @property {string} wasm  the engine for so many threads
 * @property {string | null} array
 * @property {{mean: number[], std: number[]}} preprocess
 * @property {string | null} logits
 * @property {{proof: import("./proof.js").Proof, probes: string, limit: number, remedy: string}} proved
 */
/**
 * @typedef {object} Order
 * @property {number} protocol
 * @property {Ordered[]} artifacts
 * @property {string[]} pictures
 * @property {number} rounds
 * @property {number | null} runs
 * @property {number | null} seconds
 * @property {boolean} end_to_end
 * @property {number} sustained_minutes
 * @property {{window: number, tolerance: number, max_runs: number, max_seconds: number}} warm_up
 * @property {number} first_round
 * @property {Record<string, string[]>} skip
 * @property {number} patience_seconds
 */
/**
 * Who asked for it.
 * @typedef {object} Host
 * @property {(event: Record<string, any>) => Promise<void> | void} send
 * @property {(name: string) => Promise<Blob>} fetch
 * @property {import("./attention.js").Attention} attention
 * @property {boolean} stopping
 * @property {boolean} [raw]  whether probes come as RGB, as in a site's folder
 */

const SETTLING = 2; // runs at the start of a turn that do not count: the caches still belong to the file before
const WINDOW = 3; // seconds, of a sustained run
const HONEST = 10; // a turn may take so many times what it is expected to before it counts as hung

export class Measurement {
  #began = performance.now();
  /** @type {Map<string, Timed>} */
  #alive = new Map();
  /** @type {Set<string>} files that can be measured end to end */
  #ready = new Set();
  /** @type {Map<string, number>} the last known seconds of one run, by file and kind */
  #slow = new Map();

  /** @param {Order} order @param {Host} host */
  constructor(order, host) {
    this.order = order;
    this.host = host;
  }

  /** Everything the order asks for; the errors of a file are events and end nothing else. */
  async run() {
    const { host } = this;
    await host.send({ event: "hello", protocol: this.order.protocol });
    await host.send({ event: "fingerprint" });
    await host.send({ event: "before", at: now() });
    try {
      for (const artifact of this.order.artifacts) await this.#open(artifact);
      await this.#rounds();
      await this.#sustained();
    } finally {
      this.stop();
    }
    if (host.stopping) return;
    await host.send({ event: "after", at: now() });
    await host.send({ event: "done" });
  }

  /** Ends every worker. */
  stop() {
    for (const worker of this.#alive.values()) worker.end("it was stopped");
    this.#alive.clear();
  }

  /** @param {Ordered} artifact */
  async #open(artifact) {
    if (this.host.stopping) return;
    const threads = artifact.threads ?? 1;
    try {
      if (threads > 1 && !globalThis.crossOriginIsolated) throw new Error(oneThread(threads));
      const opening = await this.#opening(artifact, threads);
      const worker = new Timed();
      this.#alive.set(artifact.id, worker);
      const found = await this.#ask(artifact, "open", opening);
      this.#slow.set(`${artifact.id} model`, found.first_ns / 1e9);
      await this.host.send({ event: "opened", id: artifact.id, wasm: threads > 1 ? "wasm32-threads" : "wasm32", ...found });
      await this.host.attention.shown();
      const { warm_up } = this.order;
      const warm = await this.#ask(artifact, "warm", warm_up, warm_up.max_seconds + (found.first_ns / 1e9) * HONEST);
      await this.host.send({ event: "warm", id: artifact.id, ...warm });
      if (this.order.end_to_end && !this.#skips(artifact, "end_to_end")) await this.#prepare(artifact);
    } catch (error) {
      await this.#lose(artifact, error);
    }
  }

  /** @param {Ordered} artifact @param {number} threads */
  async #opening(artifact, threads) {
    const get = async (/** @type {string} */ name) => (await this.host.fetch(name)).arrayBuffer();
    const [wasm, file, probes, input] = await Promise.all([
      get(artifact.wasm),
      get(artifact.path),
      get(artifact.proved.probes),
      artifact.array === null ? null : get(artifact.array),
    ]);
    const { proof, limit, remedy } = artifact.proved;
    return {
      ...{ wasm, file, threads, proof, limit, remedy, kernels: artifact.options.kernels },
      ...{ preprocess: artifact.preprocess, logits: artifact.logits, raw: Boolean(this.host.raw) },
      probes: this.host.raw ? new Uint8Array(probes) : arrayOf(probes),
      input: input && arrayOf(input),
    };
  }

  /** @param {Ordered} artifact */
  async #prepare(artifact) {
    const pictures = await Promise.all(this.order.pictures.map((name) => this.host.fetch(name)));
    const { note } = await this.#ask(artifact, "prepare", { pictures });
    if (note === null) this.#ready.add(artifact.id);
    else await this.host.send({ event: "note", id: artifact.id, kind: "end_to_end", sentence: note });
  }

  async #rounds() {
    const { rounds, first_round } = this.order;
    for (let number = first_round; number < rounds; number++) {
      for (const [kind, artifact] of this.#turns(number)) {
        if (this.host.stopping) return;
        if (this.#alive.has(artifact.id) && (kind === "model" || this.#ready.has(artifact.id))) await this.#turn(number, kind, artifact);
      }
      if (!this.#alive.size) return;
      await this.host.send({ event: "round", round: number + 1, of: rounds });
    }
  }

  /**
   * All turns of a round; the order of files is reversed every other round, so that whatever drifts meets all alike.
   * @param {number} number
   * @returns {["model" | "end_to_end", Ordered][]}
   */
  #turns(number) {
    const artifacts = number % 2 ? [...this.order.artifacts].reverse() : this.order.artifacts;
    return [
      ...artifacts.map((artifact) => /** @type {["model", Ordered]} */ (["model", artifact])),
      ...artifacts.map((artifact) => /** @type {["end_to_end", Ordered]} */ (["end_to_end", artifact])),
    ];
  }

  /** @param {number} number @param {"model" | "end_to_end"} kind @param {Ordered} artifact */
  async #turn(number, kind, artifact) {
    const { runs, seconds, rounds } = this.order;
    const share = runs === null ? null : Math.max(1, Math.floor((runs * (number + 1)) / rounds) - Math.floor((runs * number) / rounds));
    const asked = { kind, runs: share, seconds: seconds === null ? null : seconds / rounds, settle: SETTLING, yard: true };
    try {
      const turn = await this.#measured(artifact, asked, number);
      if (turn) await this.host.send({ event: "turn", id: artifact.id, kind, turn });
    } catch (error) {
      await this.#lose(artifact, error);
    }
  }

  async #sustained() {
    for (const artifact of this.order.sustained_minutes ? this.order.artifacts : []) {
      if (!this.#alive.has(artifact.id) || this.#skips(artifact, "sustained")) continue;
      const until = performance.now() + this.order.sustained_minutes * 60_000;
      try {
        for (let window = 0, left; (left = (until - performance.now()) / 1000) > 0 && !this.host.stopping; window++) {
          const asked = { kind: "model", runs: null, seconds: Math.min(left, WINDOW), settle: 0, yard: false };
          const turn = await this.#measured(artifact, asked, window);
          if (turn) await this.host.send({ event: "window", id: artifact.id, turn });
        }
      } catch (error) {
        await this.#lose(artifact, error);
      }
    }
  }

  /**
   * One turn; made again where the page was hidden meanwhile, for a hidden page is slowed down.
   * @param {Ordered} artifact
   * @param {{kind: string, runs: number | null, seconds: number | null, settle: number, yard: boolean}} asked
   * @param {number} number
   */
  async #measured(artifact, asked, number) {
    const { attention } = this.host;
    const known = `${artifact.id} ${asked.kind}`;
    const one = this.#slow.get(known) ?? this.#slow.get(`${artifact.id} model`) ?? 1;
    const patience = ((asked.seconds ?? 0) + one * ((asked.runs ?? 1) + asked.settle)) * HONEST;
    while (!this.host.stopping) {
      await attention.shown();
      const { hidings } = attention;
      const started = (performance.now() - this.#began) / 1000;
      const answer = await this.#ask(artifact, "turn", asked, patience);
      if (attention.hidings !== hidings) continue;
      this.#slow.set(known, Math.max(...answer.samples_ns.slice(-1000)) / 1e9);
      return { round: number, started, ...answer };
    }
    return null;
  }

  /** @param {Ordered} artifact @param {string} task @param {unknown} content @param {number} [longer]  seconds */
  #ask(artifact, task, content, longer = 0) {
    const worker = this.#alive.get(artifact.id);
    if (!worker) throw new Error("it was stopped");
    return worker.within(this.order.patience_seconds + longer, task, content);
  }

  /** @param {Ordered} artifact @param {string} what */
  #skips({ id }, what) {
    return (this.order.skip[id] ?? []).includes(what);
  }

  /** @param {Ordered} artifact @param {unknown} error */
  async #lose({ id }, error) {
    this.#alive.get(id)?.end("it was given up");
    this.#alive.delete(id);
    if (!this.host.stopping) await this.host.send({ event: "error", id, sentence: error instanceof Error ? error.message : String(error) });
  }
}

/** @param {number} threads */
function oneThread(threads) {
  return (
    `${threads} threads need a page that shares memory, which browsers allow over https or on localhost alone ` +
    "(a secure context), and this one is neither: take --threads 1, or reach it by adb reverse"
  );
}

function now() {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

/** A numpy file of floats or bytes. @param {ArrayBuffer} content @returns {Float32Array | Uint8Array} */
export function arrayOf(content) {
  const bytes = new Uint8Array(content);
  const long = bytes[6] > 1; // of version 2, where the header's length takes four bytes
  const begins = long ? 12 : 10;
  const length = long ? new DataView(content).getUint32(8, true) : new DataView(content).getUint16(8, true);
  const header = new TextDecoder().decode(bytes.subarray(begins, begins + length));
  const data = content.slice(begins + length);
  if (header.includes("'<f4'")) return new Float32Array(data);
  if (header.includes("'|u1'")) return new Uint8Array(data);
  throw new Error(`this array is none of floats or bytes: ${header.slice(0, 80)}`);
}
