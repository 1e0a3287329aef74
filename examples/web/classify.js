// A page of one's own: names what is in a picture that is chosen.
import { load } from "./edgecvx.js";

const input = /** @type {HTMLInputElement} */ (document.querySelector("input"));
const output = /** @type {HTMLOutputElement} */ (document.querySelector("output"));
const say = (/** @type {unknown} */ what) => (output.textContent = what instanceof Error ? what.message : `${what}`);

const model = await load("./").catch(say);
if (typeof model !== "string") {
  say(`${model.info.name} is ready`);
  input.disabled = false;
  input.addEventListener("change", () => classify(model).then(say, say));
}

/** @param {import("./edgecvx.js").Model} model */
async function classify(model) {
  const [file] = input.files ?? [];
  const { top, times } = await model.classify(file, { top: 3 });
  const named = top.map(({ label, probability }) => `${label} ${Math.round(100 * probability)}%`);
  return `${named.join(", ")}; in ${times.infer.toFixed(1)} ms`;
}
