// One of a few: radio buttons that look like pills.

import { make } from "./text.js";

/** @typedef {{value: string, name: string, title?: string, disabled?: boolean}} Choice */

/**
 * Kept and changed in place where the choices are the same: the keyboard's focus stays where it is.
 * @param {HTMLElement} place
 * @param {string} group
 * @param {Choice[]} choices
 * @param {string} chosen
 * @param {(value: string) => void} onChoice
 */
export function showPills(place, group, choices, chosen, onChoice) {
  const wanted = JSON.stringify(choices);
  if (place.dataset.choices !== wanted) {
    place.dataset.choices = wanted;
    const focused = place.contains(document.activeElement);
    place.replaceChildren(...choices.map((choice) => pill(group, choice)));
    if (focused) [...place.querySelectorAll("input")].find((input) => input.value === chosen)?.focus();
  }
  for (const input of place.querySelectorAll("input")) {
    input.checked = input.value === chosen;
    input.onchange = () => onChoice(input.value);
  }
}

/**
 * @param {string} group
 * @param {Choice} choice
 */
function pill(group, { value, name, title = "", disabled = false }) {
  const label = make("label");
  const input = make("input");
  input.type = "radio";
  input.name = group;
  input.value = value;
  input.disabled = disabled;
  label.title = title;
  label.append(input, make("span", "", name));
  return label;
}
