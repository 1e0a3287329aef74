// The WebSocket: acknowledges what it was sent, notices silence, comes back by itself with growing pauses.

const SILENCE = 6000; // the server says something every second
const UNSEEN = 20_000;
const PAUSES = [500, 1000, 2000, 4000, 8000]; // the last one for ever

export class Connection {
  #handlers;
  #socket = null;
  #failures = 0;
  #waiting = 0;
  #resting = 0;
  #heard = 0;
  #awaitsPicture = null;
  #isOpen = false;
  #everOpen = false;

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
    const mine = (handler) => (event) => socket === this.#socket && handler(event);
    socket.addEventListener("message", mine((event) => this.#take(event.data)));
    socket.addEventListener("close", mine((event) => this.#lost(event)));
  }

  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  async #take(data) {
    this.#heard = performance.now();
    let view = this.#awaitsPicture;
    let jpeg = null;
    if (typeof data === "string") {
      view = JSON.parse(data);
      if (view.refused !== undefined) return this.#handlers.onRefused(view.refused);
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

  async #lost(event) {
    this.#socket = null;
    this.#isOpen = false;
    const pause = PAUSES[Math.min(this.#failures, PAUSES.length - 1)];
    this.#failures += 1;
    const seconds = Math.max(1, Math.round(pause / 1000));
    const again = `Trying again in ${seconds} ${seconds === 1 ? "second" : "seconds"}.`;
    let sentence = again;
    if (event.code === 1013 && event.reason === "too many viewers") sentence = `As many people as it serves are looking on already. ${again}`;
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
