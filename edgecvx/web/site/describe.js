// What this browser tells of itself, for whoever reads its times: told as it is, and read on the other side.

import { isRelaxed } from "./processor.js";

/**
 * @typedef {object} Told
 * @property {string} user_agent
 * @property {{brand: string, version: string}[]} brands
 * @property {string | null} platform
 * @property {string | null} platform_version
 * @property {string | null} model
 * @property {string | null} architecture
 * @property {number | null} cores
 * @property {number | null} memory_gb
 * @property {boolean} isolated
 * @property {boolean} relaxed
 * @property {number} timer_ns
 */

const HINTS = ["architecture", "bitness", "model", "platformVersion", "fullVersionList"];
const LOOKS = 60; // at the clock
const LONGEST = 120; // ms that looking at the clock may take

/** @returns {Promise<Told>} */
export async function describe() {
  const known = /** @type {any} */ (navigator);
  const hints = await hinted(known.userAgentData);
  return {
    user_agent: navigator.userAgent.slice(0, 500),
    brands: (hints.fullVersionList ?? hints.brands ?? []).map((/** @type {any} */ { brand, version }) => ({ brand, version })),
    platform: hints.platform || null,
    platform_version: hints.platformVersion || null,
    model: hints.model || null,
    architecture: [hints.architecture, hints.bitness && `${hints.bitness} bits`].filter(Boolean).join(", ") || null,
    cores: navigator.hardwareConcurrency || null,
    memory_gb: known.deviceMemory || null,
    isolated: Boolean(globalThis.crossOriginIsolated),
    relaxed: isRelaxed(),
    timer_ns: clockStep(),
  };
}

/** The smallest step of the clock that was seen, in nanoseconds: browsers make it coarse on purpose. */
export function clockStep() {
  const began = performance.now();
  let smallest = Infinity;
  for (let look = 0, before = began; look < LOOKS && before - began < LONGEST; look++) {
    let now = before;
    while (now === before) now = performance.now();
    smallest = Math.min(smallest, now - before);
    before = now;
  }
  return Math.max(1, Math.round(smallest * 1e6));
}

/** @param {any} data  navigator.userAgentData, which not every browser has, and none over plain http */
async function hinted(data) {
  if (!data) return {};
  try {
    return await data.getHighEntropyValues(HINTS);
  } catch {
    return { brands: data.brands, platform: data.platform };
  }
}
