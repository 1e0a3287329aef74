// The WebSocket: acknowledges what it was sent, notices silence, comes back by itself with growing pauses.

/** @typedef {"starting" | "running" | "missing" | "lost" | "ended"} SourceState */
/** @typedef {{kind: string, name: string, state: SourceState, sentence: string}} Source */
/** @typedef {{id: string, file: string, precision: string, target: string, runtime: string, bytes: number}} Model */
/** @typedef {import("./parts/readings.js").Reading & {prepare_ms: number, infer_ms: number}} Reading */
/** @typedef {{frame: number, capture_ms: number, end_to_end_ms: number, fps: number, readings: Reading[]}} Result */
/**
 * @typedef {object} Status
 * @property {Source} source
 * @property {Model[]} models
 * @property {string[]} active
 * @property {boolean} paused
 * @property {string | null} error
 * @property {number | null} celsius
 * @property {number} memory_bytes
 * @property {number} uptime_s
 * @property {string} version
 */
/** @typedef {{serial: number, status: Status, result: Result | null, picture?: true}} View */
/** @typedef {{state: "first" | "open" | "lost" | "locked", sentence: string, canRetry: boolean}} State */
/**
 * @typedef {object} Handlers
 * @property {(state: State) => void} onState
 * @property {(view: View, jpeg: ArrayBuffer | null) => Promise<void>} onView
 * @property {(sentence: string) => void} onRefused
 */

const SILENCE = 6000; // the server says something every second
const UNSEEN = 20_000;
const PAUSES = [500, 1000, 2000, 4000, 8000]; // the last one for ever

export class Connection {
  /** @type {Handlers} */
  #handlers;
  /** @type {WebSocket | null} */
  #socket = null;
  #failures = 0;
  #waiting = 0;
  #resting = 0;
  #heard = 0;
  /** @type {View | null} */
  #awaitsPicture = null;
  #isOpen = false;
  #everOpen = false;

  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    setInterval(() => this.#watch(), 1000);
    document.addEventListener("visibilitychange", () => this.#rest());
    addEventListener("online", () => this.#socket || this.now());
  }

  get isOpen() {
    return this.#isOpen;
  }

  now() {
    clearTimeout(this.#waiting);
    this.#drop();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heard = performance.now();
    if (!this.#everOpen) this.#handlers.onState({ state: "first", sentence: "", canRetry: false });
    const isMine = () => socket === this.#socket;
    socket.addEventListener("message", (event) => isMine() && this.#take(event.data));
    socket.addEventListener("close", (event) => isMine() && this.#lost(event));
  }

  /** @param {{pause: boolean} | {select: string[]} | {seen: number}} message */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** @param {string | ArrayBuffer} data */
  async #take(data) {
    this.#heard = performance.now();
    let view = this.#awaitsPicture;
    let jpeg = null;
    if (typeof data === "string") {
      const told = JSON.parse(data);
      if (told.refused !== undefined) return this.#handlers.onRefused(told.refused);
      view = /** @type {View} */ (told);
      if (!this.#isOpen) {
        this.#isOpen = this.#everOpen = true;
        this.#failures = 0;
        this.#handlers.onState({ state: "open", sentence: "", canRetry: false });
      }
      if (view.picture) {
        this.#awaitsPicture = view;
        return;
      }
    } else {
      jpeg = data;
    }
    if (view === null) return; // a picture of nothing
    try {
      await this.#handlers.onView(view, jpeg);
    } finally {
      this.send({ seen: view.serial }); // the server sends the next when this one is on the screen
    }
  }

  #watch() {
    if (this.#socket && performance.now() - this.#heard > SILENCE) {
      this.#drop();
      this.#lost({ code: 1006, reason: "" });
    }
  }

  // Nobody looks: after a while nothing is sent any more, which spares the board and the phone.
  #rest() {
    clearTimeout(this.#resting);
    if (document.hidden) this.#resting = setTimeout(() => this.#drop(), UNSEEN);
    else if (!this.#socket) this.now();
  }

  #drop() {
    this.#isOpen = false;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** @param {{code: number, reason: string}} event */
  async #lost(event) {
    this.#socket = null;
    this.#isOpen = false;
    const pause = PAUSES[Math.min(this.#failures, PAUSES.length - 1)];
    this.#failures += 1;
    const seconds = Math.max(1, Math.round(pause / 1000));
    const again = `Trying again in ${seconds} ${seconds === 1 ? "second" : "seconds"}.`;
    let sentence = again;
    if (event.code === 1013 && event.reason === "too many viewers") {
      sentence = `As many people as it serves are looking on already. ${again}`;
    }
    this.#handlers.onState({ state: "lost", sentence, canRetry: true });
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => this.now(), pause + Math.random() * 250);
    if (await locked()) {
      clearTimeout(this.#waiting);
      sentence = "This link is no longer valid. Open the new one that edgecvx-live printed when it was started again.";
      this.#handlers.onState({ state: "locked", sentence, canRetry: true });
      this.#waiting = setTimeout(() => this.now(), 15_000);
    }
  }
}

// A refused WebSocket does not say why; a plain request does.
async function locked() {
  try {
    return (await fetch("/api/status", { cache: "no-store" })).status === 401;
  } catch {
    return false;
  }
}
