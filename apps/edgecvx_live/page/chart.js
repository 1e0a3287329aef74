// A number, where it comes from, and its last minute: the line is the mean, the band goes from lowest to highest.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 56;
const WIDTH = 240;

export function drawChart(tile, series) {
  const drawn = series.filter(({ points }) => points.some(Boolean));
  const all = drawn.flatMap(({ points }) => points.filter(Boolean));
  const top = niceAbove(1.25 * usualHigh(all));
  const value = tile.querySelector(".value");
  const last = drawn.map(({ usual }) => usual);
  const parts = last.length > 1 ? last.map((each) => element("em", short(each))) : [last.length ? short(last[0]) : "–"];
  if (last.length) parts.push(element("small", " ms"));
  value.replaceChildren(...parts);
  const highest = Math.max(...all.map((point) => point.high));
  tile.querySelector(".more").textContent = all.length ? `max ${short(highest)} ms in a minute` : "no result yet";

  let svg = tile.querySelector("svg");
  if (!svg) {
    svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true"); // the numbers beside it say the same
    tile.querySelector(".value").after(svg);
  }
  const y = (amount) => HEIGHT - (amount / top) * HEIGHT;
  const floor = document.createElementNS(SVG, "line");
  for (const [name, at] of Object.entries({ x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT })) floor.setAttribute(name, at);
  const paths = drawn.flatMap(({ points }, i) =>
    runs(points).flatMap((run) => [path(band(run, y), i ? "band second" : "band"), path(line(run, y), i ? "second" : "")]),
  );
  svg.replaceChildren(floor, ...paths);
}

function runs(points) {
  const found = [[]];
  for (const point of points) {
    if (point) found.at(-1).push(point);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((run) => run.length);
}

function line(run, y) {
  const steps = run.map(({ x, mean }) => `${(x * WIDTH).toFixed(1)},${y(mean).toFixed(1)}`);
  return `M${steps.join("L")}${run.length === 1 ? "h1" : ""}`;
}

function band(run, y) {
  const above = run.map(({ x, high }) => `${(x * WIDTH).toFixed(1)},${y(high).toFixed(1)}`);
  const below = run.map(({ x, low }) => `${(x * WIDTH).toFixed(1)},${y(low).toFixed(1)}`).reverse();
  return `M${above.concat(below).join("L")}Z`;
}

function path(d, name) {
  const made = document.createElementNS(SVG, "path");
  made.setAttribute("d", d);
  if (name) made.setAttribute("class", name);
  return made;
}

function element(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

// What nine of ten are below: one hiccup does not flatten the rest, it leaves the chart at the top.
function usualHigh(points) {
  const highs = points.map((point) => point.high).sort((a, b) => a - b);
  return highs[Math.floor(highs.length * 0.9)] ?? 1;
}

function short(value) {
  if (value < 0.05) return "< 0.1";
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}

// A round number: the scale changes seldom.
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 0.5)));
  return [1, 1.5, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}
