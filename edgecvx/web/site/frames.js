// The newest frame wins: one is with the network at a time, and what comes meanwhile takes the place of what waits.

const LOOKED_AT = 8;
const ALMOST = 0.8;

/**
 * A frame that came while the network was busy has waited for at most one inference, and is taken at once; where it has
 * waited for almost as long as the fastest of the last few took, the next one is awaited. So none is answered later than
 * two inferences after it came.
 */
export class Frames {
  #video;
  #take;
  #isRunning = false;
  #isAsked = false;
  #isBusy = false;
  /** @type {number | null} */
  #newest = null;
  #shown = -1;
  /** @type {number[]} What the last few took. */
  #costs = [];

  /**
   * @param {HTMLVideoElement} video
   * @param {(arrived: number) => Promise<void>} take Answers the frame that the video shows; throws nothing.
   */
  constructor(video, take) {
    this.#video = video;
    this.#take = take;
  }

  start() {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#ask();
  }

  stop() {
    this.#isRunning = false;
    this.#newest = null;
  }

  #ask() {
    if (!this.#isRunning || this.#isAsked) return;
    this.#isAsked = true;
    const look = () => {
      this.#isAsked = false;
      this.#arrived();
      this.#ask();
    };
    // Where a video does not tell of its frames, the screen does, and some of them show nothing new.
    if ("requestVideoFrameCallback" in this.#video) this.#video.requestVideoFrameCallback(look);
    else requestAnimationFrame(look);
  }

  #arrived() {
    if (!this.#isRunning || this.#video.currentTime === this.#shown) return;
    this.#shown = this.#video.currentTime;
    this.#newest = performance.now();
    void this.#next();
  }

  async #next() {
    while (!this.#isBusy && this.#newest !== null) {
      const arrived = this.#newest;
      this.#newest = null;
      const taken = performance.now();
      if (taken - arrived > ALMOST * Math.min(...this.#costs)) return;
      this.#isBusy = true;
      await this.#take(arrived);
      this.#isBusy = false;
      this.#costs = [...this.#costs, performance.now() - taken].slice(-LOOKED_AT);
    }
  }
}
