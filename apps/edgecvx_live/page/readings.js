// The answer: the likeliest class, large, and the five likeliest as bars; once, or twice side by side.

const ROWS = 5;

export function showReadings(place, result, models, still) {
  const readings = result === null ? [] : result.readings;
  place.classList.toggle("two", readings.length === 2);
  while (place.children.length > readings.length) place.lastChild.remove();
  readings.forEach((reading, i) => {
    const card = place.children[i] ?? place.appendChild(makeCard(i));
    fillCard(card, reading, models.find((model) => model.id === reading.model), still);
  });
}

function makeCard(i) {
  const card = make("article", i ? "reading second" : "reading");
  const of = card.appendChild(make("p", "reading-of"));
  of.append(make("b"), make("span"));
  const winner = card.appendChild(make("p", "winner"));
  winner.append(make("b"), make("span"));
  card.appendChild(make("ol", "bars"));
  return card;
}

function fillCard(card, reading, model, still) {
  const [precision, file] = card.querySelector(".reading-of").children;
  set(precision, reading.precision.toUpperCase());
  set(file, model ? model.file : "");
  file.title = model ? model.file : "";
  const winner = card.querySelector(".winner");
  const top = reading.top[0];
  const name = top ? headline(top.label) : "–";
  set(winner.children[0], name);
  winner.children[0].classList.toggle("long", name.length > 15);
  set(winner.children[1], top ? percent(top.probability) : "");
  winner.classList.toggle("unsure", !top || top.probability < 0.4);
  fillBars(card.querySelector(".bars"), reading.top.slice(0, ROWS), still);
}

// A row belongs to a class, and moves when its rank does, so the eye can follow it.
function fillBars(list, top, still) {
  const rows = new Map([...list.children].map((row) => [row.dataset.index, row]));
  const before = new Map([...list.children].map((row) => [row, row.offsetTop]));
  const free = [...list.children].filter((row) => !top.some(({ index }) => String(index) === row.dataset.index));
  const wanted = top.map(({ index }) => rows.get(String(index)) ?? free.shift() ?? makeRow());
  for (const row of list.children) if (!wanted.includes(row)) row.remove();
  let moved = false;
  wanted.forEach((row, i) => {
    if (list.children[i] !== row) {
      list.insertBefore(row, list.children[i] ?? null);
      moved = true;
    }
    const { index, label, probability } = top[i];
    row.dataset.index = index;
    const [name, share, track] = row.children;
    set(name, label);
    name.title = label;
    set(share, percent(probability));
    track.setAttribute("aria-label", label);
    track.setAttribute("aria-valuenow", Math.round(100 * (probability ?? 0)));
    track.firstChild.style.transform = `scaleX(${Math.min(1, Math.max(0, probability ?? 0)).toFixed(4)})`;
  });
  if (!moved || still) return;
  for (const row of wanted) {
    const from = before.get(row);
    if (from !== undefined && from !== row.offsetTop) {
      row.animate([{ transform: `translateY(${from - row.offsetTop}px)` }, { transform: "none" }], { duration: 180, easing: "ease-out" });
    }
  }
}

function makeRow() {
  const row = make("li");
  const track = make("div", "track");
  track.setAttribute("role", "meter");
  track.setAttribute("aria-valuemin", 0);
  track.setAttribute("aria-valuemax", 100);
  track.append(make("i"));
  row.append(make("span", "label"), make("span", "share"), track);
  return row;
}

function make(kind, name = "") {
  const made = document.createElement(kind);
  if (name) made.className = name;
  return made;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ImageNet's labels are lists of synonyms; the bars show them whole.
function headline(label) {
  return label.split(", ", 1)[0];
}

function percent(share) {
  const value = 100 * (share ?? 0);
  return value > 0 && value < 1 ? "< 1 %" : `${Math.round(value)} %`;
}
