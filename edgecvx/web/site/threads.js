// How many threads may be asked for, and why not more.

const wasKept = Boolean(navigator.serviceWorker?.controller); // sw.js adds what isolates a page, from its second load on

/** @typedef {{most: number, reason: string}} Threads */

/**
 * @param {boolean} isBuilt Whether the site has the engine that shares memory.
 * @returns {Threads}
 */
export function threadsHere(isBuilt) {
  if (!isBuilt) return { most: 1, reason: "One: this site has the engine without threads." };
  if (!isSecureContext) return { most: 1, reason: "One: a browser gives a page more over https alone." };
  if (!crossOriginIsolated) {
    return { most: 1, reason: `One: ${wasKept ? "this browser does not isolate pages" : "load the page again for more"}.` };
  }
  const cores = navigator.hardwareConcurrency || 1;
  return { most: cores, reason: cores === 1 ? "One: this device has one processor core." : "" };
}

/**
 * @param {number} most
 * @returns {number[]} 1, 2, 4, … and what there is.
 */
export function steps(most) {
  return [1, 2, 4, 8, 16].filter((number) => number <= most);
}
