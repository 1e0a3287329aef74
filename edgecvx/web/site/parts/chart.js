// A number, where it comes from, and its last minute: the line is the mean, the band goes from lowest to highest.

import { make, part } from "./text.js";

/** @typedef {import("./history.js").Point} Point */
/** @typedef {{points: (Point | null)[], usual: number | undefined}} Series */

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 56;
const WIDTH = 240;

/**
 * @param {HTMLElement} tile
 * @param {Series[]} series
 * @param {string} [unit]
 */
export function drawChart(tile, series, unit = "ms") {
  const drawn = series.filter(({ points }) => points.some(Boolean));
  const all = drawn.flatMap(({ points }) => present(points));
  const top = niceAbove(1.25 * usualHigh(all));
  const value = part(tile, ".value");
  const last = drawn.map(({ usual }) => usual ?? 0);
  const numbers = last.length > 1 ? last.map((each) => make("em", "", short(each))) : last.map(short);
  value.replaceChildren(...(last.length ? [...numbers, make("small", "", unit && ` ${unit}`)] : ["–"]));
  const highest = short(Math.max(...all.map((point) => point.high)));
  part(tile, ".more").textContent = all.length ? `max ${highest} ${unit}`.trimEnd() + " in a minute" : "no result yet";

  let svg = tile.querySelector("svg");
  if (!svg) {
    svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true"); // the numbers beside it say the same
    value.after(svg);
  }
  /** @type {Scale} */
  const y = (amount) => HEIGHT - (amount / top) * HEIGHT;
  const floor = document.createElementNS(SVG, "line");
  const ends = { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT };
  for (const [name, at] of Object.entries(ends)) floor.setAttribute(name, String(at));
  const paths = drawn.flatMap(({ points }, i) => {
    const rank = i ? "second" : "";
    return runs(points).flatMap((run) => [path(band(run, y), `band ${rank}`), path(line(run, y), rank)]);
  });
  svg.replaceChildren(floor, ...paths);
}

/** @typedef {(amount: number) => number} Scale */

/**
 * @param {(Point | null)[]} points
 * @returns {Point[]}
 */
function present(points) {
  return points.flatMap((point) => point ?? []);
}

/** @param {(Point | null)[]} points */
function runs(points) {
  /** @type {Point[][]} */
  const found = [[]];
  for (const point of points) {
    if (point) found[found.length - 1].push(point);
    else if (found[found.length - 1].length) found.push([]);
  }
  return found.filter((run) => run.length);
}

/**
 * @param {Point[]} run
 * @param {Scale} y
 */
function line(run, y) {
  const steps = run.map(({ x, mean }) => `${(x * WIDTH).toFixed(1)},${y(mean).toFixed(1)}`);
  return `M${steps.join("L")}${run.length === 1 ? "h1" : ""}`;
}

/**
 * @param {Point[]} run
 * @param {Scale} y
 */
function band(run, y) {
  const above = run.map(({ x, high }) => `${(x * WIDTH).toFixed(1)},${y(high).toFixed(1)}`);
  const below = run.map(({ x, low }) => `${(x * WIDTH).toFixed(1)},${y(low).toFixed(1)}`).reverse();
  return `M${above.concat(below).join("L")}Z`;
}

/**
 * @param {string} d
 * @param {string} name
 */
function path(d, name) {
  const made = document.createElementNS(SVG, "path");
  made.setAttribute("d", d);
  if (name) made.setAttribute("class", name);
  return made;
}

/**
 * What nine of ten are below: one hiccup does not flatten the rest, it leaves the chart at the top.
 * @param {Point[]} points
 */
function usualHigh(points) {
  const highs = points.map((point) => point.high).sort((a, b) => a - b);
  return highs[Math.floor(highs.length * 0.9)] ?? 1;
}

/** @param {number} value */
function short(value) {
  if (value < 0.05) return "< 0.1";
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}

/**
 * A round number: the scale changes seldom.
 * @param {number} value
 */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 0.5)));
  return [1, 1.5, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}
