// What the page measures by itself: each model of its folder, with one thread and with some, in turns.

/** @typedef {import("./edgecvx.js").Entry} Entry */
/** @typedef {import("./measurement.js").Order} Order */
/** @typedef {Record<string, any>} Manifest */
/** @typedef {{runs: number, rounds: number}} Length */

const PROTOCOL = 2; // edgecvx/board/__init__.py
const MOST_THREADS = 4;
const PICTURES = 8;
/** @type {Record<string, Length>} */
export const LENGTHS = {
  short: { runs: 20, rounds: 5 },
  medium: { runs: 100, rounds: 10 },
  long: { runs: 400, rounds: 20 },
};

/** @param {string} site @returns {Promise<{edgecvx: string, models: Entry[], manifests: Manifest[]}>} */
export async function listed(site) {
  const get = async (/** @type {string} */ name) => (await fetched(site, name)).json();
  const { edgecvx, models } = await get("models.json");
  return { edgecvx, models, manifests: await Promise.all(models.map((/** @type {Entry} */ { manifest }) => get(manifest))) };
}

/** @param {string} site @param {string} name */
export async function fetched(site, name) {
  const response = await fetch(new URL(encodeURIComponent(name), site));
  if (!response.ok) throw new Error(`${name} is not there (HTTP ${response.status}): export the site again, or copy all of it`);
  return response;
}

/** The numbers of threads that are worth a row. @returns {number[]} */
export function threadsHere() {
  const most = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
  return most > 1 ? [1, most] : [1];
}

/**
 * The order, as `edgecvx bench` would give it.
 * @param {Entry[]} models
 * @param {Manifest[]} manifests
 * @param {Length} length
 * @returns {Order}
 */
export function ordered(models, manifests, { runs, rounds }) {
  const artifacts = models.flatMap((entry, index) => threadsHere().map((threads) => artifactOf(entry, manifests[index], threads)));
  return {
    ...{ protocol: PROTOCOL, rounds, runs, seconds: null, end_to_end: true, sustained_minutes: 0, first_round: 0, skip: {} },
    artifacts: artifacts.map((artifact, index) => ({ ...artifact, id: `a${index}` })),
    pictures: Array.from({ length: PICTURES }, (_, index) => `drawn ${index}`),
    warm_up: { window: 10, tolerance: 0.02, max_runs: 500, max_seconds: 20 },
    patience_seconds: 300,
  };
}

/** @param {Entry} entry @param {Manifest} manifest @param {number} threads */
function artifactOf(entry, manifest, threads) {
  return {
    ...{ id: "", threads, options: {}, path: entry.file, engines: entry.engines, array: null },
    preprocess: manifest.model.preprocess,
    logits: manifest.task === "classify" ? manifest.outputs[0].name : null,
    proved: { proof: manifest.proof, probes: entry.probes, limit: entry.limit, remedy: entry.remedy },
  };
}

/** A picture as a camera would give it, the same for everybody but for the browser's own JPEG. @param {number} number */
export async function drawnPicture(number) {
  const canvas = new OffscreenCanvas(640, 480);
  const brush = canvas.getContext("2d");
  if (!brush) throw new Error("this browser has no canvas to draw pictures on");
  let seed = number + 1;
  const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) / 2 ** 32;
  const sky = brush.createLinearGradient(0, 0, 640, 480);
  for (const stop of [0, 0.5, 1]) sky.addColorStop(stop, `hsl(${360 * random()} 60% ${30 + 40 * random()}%)`);
  brush.fillStyle = sky;
  brush.fillRect(0, 0, 640, 480);
  for (let spot = 0; spot < 200; spot++) {
    brush.fillStyle = `hsl(${360 * random()} 70% ${100 * random()}%)`;
    brush.beginPath();
    brush.arc(640 * random(), 480 * random(), 2 + 60 * random() ** 3, 0, 7);
    brush.fill();
  }
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
}
