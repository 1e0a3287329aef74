// The newest frame wins: one is with the network at a time, and what comes meanwhile takes the place of what waits.

/**
 * A frame arrives while the network is busy with another one for at most the time that one takes, so none is answered
 * later than two inferences after it came.
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

  /**
   * @param {HTMLVideoElement} video
   * @param {(arrived: number) => Promise<void>} take Answers the frame that the video shows; never throws.
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
      this.#isBusy = true;
      await this.#take(arrived);
      this.#isBusy = false;
    }
  }
}
