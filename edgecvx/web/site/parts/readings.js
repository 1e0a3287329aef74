// The answer: the likeliest class, large, and the five likeliest as bars; once, or twice side by side.

import { make, part, set } from "./text.js";

/** @typedef {{index: number, label: string, probability: number | null}} Ranked */
/** @typedef {{model: string, precision: string, top: Ranked[]}} Reading */
/** @typedef {{id: string, file: string}} Named */

const ROWS = 5;

/**
 * @param {HTMLElement} place
 * @param {Reading[]} readings
 * @param {Named[]} models
 * @param {boolean} still Whether nothing may move.
 */
export function showReadings(place, readings, models, still) {
  place.classList.toggle("two", readings.length === 2);
  while (place.children.length > readings.length) place.lastElementChild?.remove();
  readings.forEach((reading, i) => {
    const card = place.children[i] ?? place.appendChild(makeCard(i));
    fillCard(card, reading, models.find((model) => model.id === reading.model), still);
  });
}

/** @param {number} i */
function makeCard(i) {
  const card = make("article", i ? "reading second" : "reading");
  const of = card.appendChild(make("p", "reading-of"));
  of.append(make("b"), make("span"));
  const winner = card.appendChild(make("p", "winner"));
  winner.append(make("b"), make("span"));
  card.appendChild(make("ol", "bars"));
  return card;
}

/**
 * @param {Element} card
 * @param {Reading} reading
 * @param {Named | undefined} model
 * @param {boolean} still
 */
function fillCard(card, reading, model, still) {
  const precision = part(card, ".reading-of b");
  const file = part(card, ".reading-of span");
  set(precision, reading.precision.toUpperCase());
  set(file, model ? model.file : "");
  file.title = model ? model.file : "";
  const winner = part(card, ".winner");
  const top = reading.top[0];
  const name = top ? headline(top.label) : "–";
  set(winner.children[0], name);
  winner.children[0].classList.toggle("long", name.length > 15);
  set(winner.children[1], top ? share(top.probability) : "");
  winner.classList.toggle("unsure", (top?.probability ?? 0) < 0.4);
  fillBars(part(card, ".bars"), reading.top.slice(0, ROWS), still);
}

/**
 * A row belongs to a class, and moves when its rank does, so the eye can follow it.
 * @param {HTMLElement} list
 * @param {Ranked[]} top
 * @param {boolean} still
 */
function fillBars(list, top, still) {
  const there = [...list.querySelectorAll("li")];
  const rows = new Map(there.map((row) => [row.dataset.index, row]));
  const before = new Map(there.map((row) => [row, row.offsetTop]));
  const free = there.filter((row) => !top.some(({ index }) => String(index) === row.dataset.index));
  const wanted = top.map(({ index }) => rows.get(String(index)) ?? free.shift() ?? makeRow());
  for (const row of there) if (!wanted.includes(row)) row.remove();
  let moved = false;
  wanted.forEach((row, i) => {
    if (list.children[i] !== row) {
      list.insertBefore(row, list.children[i] ?? null);
      moved = true;
    }
    const { index, label, probability } = top[i];
    row.dataset.index = String(index);
    const name = part(row, ".label");
    set(name, label);
    name.title = label;
    set(part(row, ".share"), share(probability));
    const track = part(row, ".track");
    track.setAttribute("aria-label", label);
    track.setAttribute("aria-valuenow", String(Math.round(100 * (probability ?? 0))));
    part(track, "i").style.transform = `scaleX(${Math.min(1, Math.max(0, probability ?? 0)).toFixed(4)})`;
  });
  if (!moved || still) return;
  for (const row of wanted) {
    const from = before.get(row);
    if (from !== undefined && from !== row.offsetTop) {
      const way = [{ transform: `translateY(${from - row.offsetTop}px)` }, { transform: "none" }];
      row.animate(way, { duration: 180, easing: "ease-out" });
    }
  }
}

function makeRow() {
  const row = make("li");
  const track = make("div", "track");
  track.setAttribute("role", "meter");
  track.setAttribute("aria-valuemin", "0");
  track.setAttribute("aria-valuemax", "100");
  track.append(make("i"));
  row.append(make("span", "label"), make("span", "share"), track);
  return row;
}

/**
 * ImageNet's labels are lists of synonyms; the bars show them whole.
 * @param {string} label
 */
function headline(label) {
  return label.split(", ", 1)[0];
}

/** @param {number | null} probability */
function share(probability) {
  const value = 100 * (probability ?? 0);
  return value > 0 && value < 1 ? "< 1 %" : `${Math.round(value)} %`;
}
