// The camera: opened, switched, given back; and in a sentence why there is none.

const WANTED = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };

/** @typedef {{title: string, sentence: string}} Trouble */

export class Camera {
  #video;
  #onLost;
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {MediaTrackConstraints | undefined} The last one. */
  #which;
  #opened = 0;

  /**
   * @param {HTMLVideoElement} video Shows it.
   * @param {(trouble: Trouble) => void} onLost
   */
  constructor(video, onLost) {
    this.#video = video;
    this.#onLost = onLost;
  }

  get isOn() {
    return this.#stream !== null;
  }

  /** What it calls itself: the words of a sentence. */
  get name() {
    if (this.isFront) return "the front camera";
    return this.#settings.facingMode === "environment" ? "the back camera" : "the camera";
  }

  /** Whether it looks at who holds it, and so is shown as a mirror. */
  get isFront() {
    return this.#settings.facingMode === "user";
  }

  /**
   * Opens the camera on the back by default, as a phone has one.
   * @param {MediaTrackConstraints} [which]
   * @returns {Promise<Trouble | null>} Why there is none; null when it runs.
   */
  async start(which = { facingMode: { ideal: "environment" } }) {
    this.stop();
    const mine = ++this.#opened;
    if (!isSecureContext) return INSECURE;
    if (!navigator.mediaDevices) return NONE;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { ...WANTED, ...which }, audio: false });
      if (mine !== this.#opened) return end(stream); // given back meanwhile
      this.#stream = stream;
      stream.getVideoTracks()[0].addEventListener("ended", () => this.#lost(stream));
      this.#video.srcObject = stream;
      await this.#video.play();
      return null;
    } catch (error) {
      if (mine !== this.#opened) return null;
      this.stop();
      return troubleOf(error);
    }
  }

  /** @returns {Promise<boolean>} Whether there is another one. */
  async hasOthers() {
    return (await cameras()).length > 1;
  }

  /** The one that looks the other way; where none says how it looks, the next. */
  async switch() {
    const { facingMode, deviceId } = this.#settings;
    if (facingMode === "user") return this.start({ facingMode: { exact: "environment" } });
    if (facingMode === "environment") return this.start({ facingMode: { exact: "user" } });
    const ids = (await cameras()).map((camera) => camera.deviceId);
    return this.start({ deviceId: { exact: ids[(ids.indexOf(deviceId ?? "") + 1) % ids.length] } });
  }

  /** Opens the same one again. */
  async again() {
    return this.start(this.#which);
  }

  stop() {
    this.#opened += 1;
    if (this.#stream) {
      const { deviceId } = this.#settings;
      if (deviceId) this.#which = { deviceId: { ideal: deviceId } };
      end(this.#stream);
    }
    this.#stream = null;
    this.#video.srcObject = null;
  }

  get #settings() {
    return this.#stream?.getVideoTracks()[0].getSettings() ?? {};
  }

  /** @param {MediaStream} stream */
  #lost(stream) {
    if (stream !== this.#stream) return;
    this.stop();
    this.#onLost(LOST);
  }
}

export const INSECURE = {
  title: "The camera needs https",
  sentence:
    "A browser lends its camera to a page over https, or from this very machine. This page came over plain http: " +
    "open it over https, or give it a picture.",
};
const NONE = {
  title: "No camera here",
  sentence: "This device has no camera that a page may use. Plug one in and try again, or choose a picture.",
};
const REFUSED = {
  title: "The camera was refused",
  sentence: "Allow it for this page in the browser's settings and try again, or choose a picture.",
};
const BUSY = {
  title: "The camera is busy",
  sentence: "Another app or page is using it. Close that one and try again, or choose a picture.",
};
const LOST = {
  title: "The camera is gone",
  sentence: "It was unplugged, or taken by another app. Try again when it is back.",
};

/**
 * @param {unknown} error
 * @returns {Trouble}
 */
function troubleOf(error) {
  const name = error instanceof Error ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return REFUSED;
  return name === "NotReadableError" || name === "AbortError" ? BUSY : NONE;
}

async function cameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter((device) => device.kind === "videoinput");
}

/** @param {MediaStream} stream */
function end(stream) {
  for (const track of stream.getTracks()) track.stop();
  return null;
}
