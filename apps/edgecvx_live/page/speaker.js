// What a screen reader says by itself: a new answer once it has settled, and never more than one sentence in a while.

const SETTLED = 1200;
const QUIET = 5000;

export class Speaker {
  #place;
  #spoken = "";
  #candidate = "";
  #since = 0;
  #last = -QUIET;
  #noticed = new Map();

  constructor(place) {
    this.#place = place;
  }

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

  notice(topic, sentence) {
    if (this.#noticed.get(topic) === sentence) return;
    this.#noticed.set(topic, sentence);
    if (sentence) this.say(sentence);
  }

  say(sentence) {
    this.#last = performance.now();
    this.#place.textContent = sentence;
  }
}
