// What a screen reader says by itself: a new answer once it has settled, and never more than one sentence in a while.

const SETTLED = 1200;
const QUIET = 5000;

export class Speaker {
  /** @type {HTMLElement} */
  #place;
  #spoken = "";
  #candidate = "";
  #since = 0;
  #last = -QUIET;
  /** @type {Map<string, string>} */
  #noticed = new Map();

  /** @param {HTMLElement} place A live region. */
  constructor(place) {
    this.#place = place;
  }

  /**
   * What is seen now; said once it has stayed.
   * @param {string} key Tells one answer from another.
   * @param {string} sentence
   */
  seen(key, sentence) {
    const now = performance.now();
    if (key !== this.#candidate) {
      this.#candidate = key;
      this.#since = now;
    }
    if (key && key !== this.#spoken && now - this.#since > SETTLED && now - this.#last > QUIET) {
      this.#spoken = key;
      this.say(sentence);
    }
  }

  /**
   * How things stand with something; said when that changes.
   * @param {string} topic
   * @param {string} sentence Empty where all is well.
   */
  notice(topic, sentence) {
    if (this.#noticed.get(topic) === sentence) return;
    this.#noticed.set(topic, sentence);
    if (sentence) this.say(sentence);
  }

  /** @param {string} sentence */
  say(sentence) {
    this.#last = performance.now();
    this.#place.textContent = sentence;
  }
}
