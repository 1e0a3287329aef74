// The panel that measures this device; what it needs is loaded when it is opened.

import { make, part } from "./parts/text.js";

/**
 * @param {HTMLElement} section
 * @param {URL} site
 */
export async function openMeasuring(section, site) {
  const place = part(section, "#measure-panel");
  const button = /** @type {HTMLButtonElement} */ (part(section, "#measure-open"));
  button.disabled = true;
  try {
    const { panel } = await import("./bench.js");
    await panel(place, site);
    button.hidden = true;
  } catch (error) {
    place.replaceChildren(make("p", "note", `Measuring did not begin: ${error instanceof Error ? error.message : error}`));
    button.disabled = false;
  }
  place.hidden = false;
}
