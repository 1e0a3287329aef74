// What both pages need to write something down: text is only ever textContent.

/**
 * An element of a kind, of a class.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} kind
 * @param {string} [name]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(kind, name = "", text = "") {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}

/**
 * The element of this selector below another one; the page has it, or the page is broken.
 * @param {ParentNode} place
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function part(place, selector) {
  const found = place.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`the page has no ${selector}`);
  return found;
}

/**
 * Leaves an element alone that says this already: a screen reader would say it again, a selection would be lost.
 * @param {Element} element
 * @param {string} text
 */
export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {number | null | undefined} share
 * @returns {string}
 */
export function percent(share) {
  return `${Math.round(100 * (share ?? 0))} %`;
}

/**
 * @param {number} time
 * @returns {string}
 */
export function ms(time) {
  return `${time < 10 ? time.toFixed(1) : time.toFixed(0)} ms`;
}
