// How many threads may be asked for, and why not more.

/** @typedef {{most: number, reason: string}} Threads */

/**
 * @param {boolean} isBuilt Whether the site has the engine that shares memory.
 * @returns {Threads}
 */
export function threadsHere(isBuilt) {
  if (!isBuilt) return { most: 1, reason: "One: this site has the engine without threads." };
  if (!isSecureContext) return { most: 1, reason: "One: a browser gives a page more over https alone." };
  if (!crossOriginIsolated) {
    const isKept = navigator.serviceWorker?.controller !== null;
    return { most: 1, reason: `One: ${isKept ? "the server does not isolate this page" : "load the page again for more"}.` };
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
