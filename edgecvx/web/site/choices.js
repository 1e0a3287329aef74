// What there is to choose from: networks, by names that tell them apart, and threads, or why not more.

// sw.js adds what isolates a page, from its second load on.
const wasKept = Boolean(globalThis.navigator?.serviceWorker?.controller);

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

/**
 * Without the words that all begin with, and those that all end with.
 * @param {string[]} names
 * @returns {string[]}
 */
export function shortened(names) {
  if (names.length < 2) return names;
  const words = names.map((name) => name.split(/([-._])/));
  const first = shared(words, 0, 1);
  const last = shared(words, -1, -1);
  const cut = words.map((each) => each.slice(first, Math.max(first + 1, each.length - last)).join(""));
  return new Set(cut).size === names.length ? cut.map((name) => name.replace(/^[-._]+|[-._]+$/g, "")) : names;
}

/**
 * How many words are the same in all, from one end on; one is left of each.
 * @param {string[][]} words
 * @param {number} from
 * @param {1 | -1} step
 */
function shared(words, from, step) {
  const most = Math.min(...words.map((each) => each.length)) - 1;
  let count = 0;
  while (count < most && new Set(words.map((each) => each.at(from + step * count))).size === 1) count++;
  return count;
}
