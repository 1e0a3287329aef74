// Whether somebody looks at the page: a browser slows a hidden one down, and a dark phone stops it.

export class Attention {
  hidings = 0;
  /** @type {(state: "shown" | "hidden" | "leaving") => void} */
  #tell;
  /** @type {any} */
  #lock = null;
  #wanted = false;

  /** @param {(state: "shown" | "hidden" | "leaving") => void} tell */
  constructor(tell) {
    this.#tell = tell;
    document.addEventListener("visibilitychange", () => this.#changed());
    addEventListener("pagehide", () => this.#tell("leaving"));
  }

  get state() {
    return document.visibilityState === "hidden" ? "hidden" : "shown";
  }

  /** @returns {Promise<void>} when the page is shown */
  shown() {
    return new Promise((resolve) => {
      const look = () => {
        if (this.state === "hidden") return;
        document.removeEventListener("visibilitychange", look);
        resolve();
      };
      document.addEventListener("visibilitychange", look);
      look();
    });
  }

  /** Keeps the screen on where the browser lets a page do so, which takes https or localhost. @param {boolean} wanted */
  async keepAwake(wanted) {
    this.#wanted = wanted;
    const locks = /** @type {any} */ (navigator).wakeLock;
    try {
      if (wanted && locks && this.state === "shown") this.#lock = await locks.request("screen");
      if (!wanted) await this.#lock?.release();
    } catch {
      // a battery that is low: the user's own settings hold then
    }
  }

  #changed() {
    if (this.state === "hidden") this.hidings += 1;
    else if (this.#wanted) void this.keepAwake(true);
    this.#tell(this.state);
  }
}
