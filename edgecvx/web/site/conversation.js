// A page and the computer whose link it opened: what is asked here, what is said there, and a sign of life in between.

const HEARTBEAT = 5; // seconds
const PAUSE = 1000; // ms between two tries
const REFUSED = [400, 403, 404, 409, 410, 411, 413];

/** The computer does not want to hear of it; the message is its sentence. */
export class Refused extends Error {}

/** @typedef {{place: string, visit: string, purpose: string, lifeline_seconds: number}} Joined */

export class Conversation {
  #token;
  /** @type {Joined | null} */
  #joined = null;
  #number = 0;
  /** @type {Promise<void>} */
  #said = Promise.resolve();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #heart;
  #over = false;

  /** @param {string} token */
  constructor(token) {
    this.#token = token;
  }

  /** @param {import("./describe.js").Told} told @returns {Promise<Joined>} */
  async join(told) {
    const response = await this.#fetch("join", "POST", JSON.stringify(told));
    const joined = /** @type {Joined} */ (await response.json());
    this.#joined = joined;
    return joined;
  }

  /** Shows from now on that the page is there. @param {() => string} state */
  beat(state) {
    const seconds = Math.min(HEARTBEAT, (this.#joined?.lifeline_seconds ?? 60) / 4);
    this.#heart = setInterval(() => this.alive(state()), 1000 * seconds);
  }

  /** @param {string} state */
  alive(state) {
    if (this.#over) return;
    this.#fetch("alive", "POST", "", { state }, true).catch(() => {}); // the next one may come through
  }

  /** What is to be done next. @returns {Promise<Record<string, any>>} */
  async asked() {
    for (;;) {
      const response = await this.#tried(() => this.#fetch("asked", "GET"));
      if (response.status === 200) return response.json();
    }
  }

  /** @param {string} name @returns {Promise<Blob>} */
  async file(name) {
    return (await this.#tried(() => this.#fetch("file", "GET", undefined, { name }))).blob();
  }

  /** Says something, after what was said before; once, however often it takes. @param {string | Blob} body */
  say(body) {
    const n = String(++this.#number);
    this.#said = this.#said.then(async () => {
      await this.#tried(() => this.#fetch("said", "POST", body, { n }));
    });
    return this.#said;
  }

  end() {
    this.#over = true;
    clearInterval(this.#heart);
  }

  /**
   * Tries again while the network is away, for as long as the computer waits too.
   * @param {() => Promise<Response>} ask
   */
  async #tried(ask) {
    const until = performance.now() + 1000 * (this.#joined?.lifeline_seconds ?? 60);
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (error instanceof Refused || this.#over) throw error;
        if (performance.now() > until) throw new Refused("The computer does not answer any more: open the link again.");
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
  }

  /**
   * @param {string} what
   * @param {"GET" | "POST"} method
   * @param {string | Blob} [body]
   * @param {Record<string, string>} [query]
   * @param {boolean} [keepalive]  also while the page is being closed
   */
  async #fetch(what, method, body, query = {}, keepalive = false) {
    const more = new URLSearchParams({ ...(this.#joined && { visit: this.#joined.visit }), ...query });
    const headers = { Authorization: `Bearer ${this.#token}` };
    const response = await fetch(`device/${what}?${more}`, { method, body, headers, keepalive, cache: "no-store" });
    if (response.ok) return response;
    const { sentence } = await response.json().catch(() => ({ sentence: `HTTP ${response.status}` }));
    throw REFUSED.includes(response.status) ? new Refused(sentence) : new Error(sentence);
  }
}
