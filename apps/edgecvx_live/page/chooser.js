// Which model answers, and which one beside it.

let shown = "";

export function showChooser(place, status, choose, again) {
  const { models, active } = status;
  place.hidden = models.length < 2;
  const state = JSON.stringify([models, active]);
  if (place.hidden || (state === shown && !again)) return;
  shown = state;
  const [first, second] = place.querySelectorAll(".pills");
  const pick = (group, ids) => ids.map((id) => models.find((model) => model.id === id)).filter(Boolean).map((model) => [model.id, nameOf(model, models), model.file]);
  const others = models.map((model) => model.id).filter((id) => id !== active[0]);
  fill(first, "first", pick("first", models.map((model) => model.id)), active[0], (id) => {
    choose(active.length === 2 ? [id, id === active[1] ? active[0] : active[1]] : [id]);
  });
  fill(second, "second", [["", "Nothing", ""], ...pick("second", others)], active[1] ?? "", (id) => {
    choose(id === "" ? [active[0]] : [active[0], id]);
  });
}

// Kept and changed in place where the choices are the same: the keyboard's focus stays where it is.
function fill(place, group, choices, chosen, onChoice) {
  const wanted = JSON.stringify(choices);
  if (place.dataset.choices !== wanted) {
    place.dataset.choices = wanted;
    const focused = place.contains(document.activeElement);
    place.replaceChildren(...choices.map(([id, name, file]) => pill(group, id, name, file)));
    if (focused) [...place.querySelectorAll("input")].find((input) => input.value === chosen)?.focus();
  }
  for (const input of place.querySelectorAll("input")) {
    input.checked = input.value === chosen;
    input.onchange = () => onChoice(input.value);
  }
}

function pill(group, id, name, file) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const text = document.createElement("span");
  input.type = "radio";
  input.name = group;
  input.value = id;
  text.textContent = name;
  label.title = file;
  label.append(input, text);
  return label;
}

// As short as it can be and still be told apart.
export function nameOf(model, models) {
  const short = model.precision.toUpperCase();
  const same = models.filter((other) => other.precision === model.precision);
  if (same.length === 1) return short;
  if (same.filter((other) => other.target === model.target).length === 1) return `${short} ${model.target}`;
  return model.file;
}
