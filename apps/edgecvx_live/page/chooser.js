// Which model answers, and which one beside it.

import { showPills } from "./parts/pills.js";

/** @typedef {import("./connection.js").Model} Model */

let shown = "";

/**
 * @param {HTMLElement} place
 * @param {import("./connection.js").Status} status
 * @param {(ids: string[]) => void} choose
 * @param {boolean} again  whether to show it anew though nothing has changed
 */
export function showChooser(place, status, choose, again) {
  const { models, active } = status;
  place.hidden = models.length < 2;
  const state = JSON.stringify([models, active]);
  if (place.hidden || (state === shown && !again)) return;
  shown = state;
  const [first, second] = /** @type {NodeListOf<HTMLElement>} */ (place.querySelectorAll(".pills"));
  const all = models.map((model) => ({ value: model.id, name: nameOf(model, models), title: model.file }));
  showPills(first, "first", all, active[0], (id) => {
    choose(active.length === 2 ? [id, id === active[1] ? active[0] : active[1]] : [id]);
  });
  const others = all.filter(({ value }) => value !== active[0]);
  showPills(second, "second", [{ value: "", name: "Nothing" }, ...others], active[1] ?? "", (id) => {
    choose(id === "" ? [active[0]] : [active[0], id]);
  });
}

/**
 * As short as it can be and still be told apart.
 * @param {Model} model
 * @param {Model[]} models
 */
export function nameOf(model, models) {
  const short = model.precision.toUpperCase();
  const same = models.filter((other) => other.precision === model.precision);
  if (same.length === 1) return short;
  if (same.filter((other) => other.target === model.target).length === 1) return `${short} ${model.target}`;
  return model.file;
}
