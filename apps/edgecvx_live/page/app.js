// The live page: a connection, and what is drawn when something arrives. Text from files is only ever textContent.

import { Connection } from "./connection.js";
import { showChooser } from "./chooser.js";
import { drawChart } from "./parts/chart.js";
import { History } from "./parts/history.js";
import { showReadings } from "./parts/readings.js";
import { Speaker } from "./parts/speaker.js";
import { ms, part, percent, set } from "./parts/text.js";

/** @typedef {import("./connection.js").Status} Status */
/** @typedef {import("./connection.js").Result} Result */
/** @typedef {import("./connection.js").Reading} Reading */

const $ = (/** @type {string} */ id) => part(document, `#${id}`);
const canvas = /** @type {HTMLCanvasElement} */ ($("picture"));
const pause = /** @type {HTMLButtonElement} */ ($("pause"));
const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
const still = matchMedia("(prefers-reduced-motion: reduce)");
const history = new History(60_000);
const speaker = new Speaker($("spoken"));

/** @type {Record<string, string>} */
const SHORT = { missing: "No camera", lost: "Camera lost", ended: "Ended" };
/** @type {Record<string, string>} */
const LONG = { missing: "No camera here", lost: "The camera is gone", ended: "That was all" };

/** @type {Status | null} */
let status = null;
/** @type {Result | null} */
let result = null;
let pictured = false;
let answered = 0;
let veiled = false;
let refusedUntil = 0;

const connection = new Connection({
  onState: showConnection,
  async onView(view, jpeg) {
    const isDrawn = jpeg !== null && !document.hidden;
    const bitmap = isDrawn ? await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })) : null;
    if (!connection.isOpen) return bitmap?.close(); // lost while the picture was decoded: what is shown now says so
    if (bitmap) drawPicture(bitmap); // only now the answer: both are of the same frame
    status = view.status;
    if (view.result !== null && (result === null || view.result.frame !== result.frame)) {
      remember(view.result);
      answered = performance.now();
    }
    result = view.result;
    showStatus(status);
    showResult(status);
  },
  onRefused: (sentence) => {
    refusedUntil = performance.now() + 8000;
    showTrouble(sentence);
    if (status) chooser(status, true);
  },
});

pause.addEventListener("click", () => status && connection.send({ pause: !status.paused }));
$("retry").addEventListener("click", () => connection.now());
setInterval(drawCharts, 500);
connection.now();

/** @param {import("./connection.js").State} state */
function showConnection({ state, sentence, canRetry }) {
  document.documentElement.dataset.connection = state;
  pause.disabled = state !== "open";
  $("retry").hidden = !canRetry;
  if (state !== "open") {
    say("trouble", state === "first" ? "Connecting…" : "Not connected");
    if (state !== "first") veil("The app does not answer", sentence);
    if (state === "lost") speaker.say("Not connected.");
  } else if (status) {
    showStatus(status);
  }
}

/** @param {Status} status */
function showStatus(status) {
  const { source, paused } = status;
  const well = source.state === "running";
  const name = source.name && source.name !== source.kind ? `${source.name}` : source.kind;
  if (paused) say("waiting", "Paused");
  else if (well) say("live", `Live from ${name}`);
  else if (source.state === "starting") say("waiting", `Waiting for ${name}`);
  else say("trouble", SHORT[source.state] ?? source.state);

  if (well || paused) veil(null);
  else if (source.state === "starting") veil(pictured ? null : "Starting…", source.sentence);
  else veil(LONG[source.state] ?? "No picture", source.sentence);

  pause.setAttribute("aria-pressed", String(paused));
  set(part(pause, "span"), paused ? "Go on" : "Pause");
  $("badge").hidden = !paused;
  if (performance.now() > refusedUntil) showTrouble(status.error);
  chooser(status, false);

  set($("celsius"), status.celsius === null ? "no sensor" : `${status.celsius.toFixed(0)} °C`);
  set($("memory"), `${(status.memory_bytes / 1e6).toFixed(0)} MB`);
  set($("uptime"), duration(status.uptime_s));
  const running = status.models.filter((model) => status.active.includes(model.id));
  const about = running.map(({ file, bytes, runtime }) => `${file}, ${(bytes / 1e6).toFixed(1)} MB, in ${runtime}`);
  set($("about"), `edgecvx live ${status.version} · ${about.join(" · ")}`);
  speaker.notice("source", source.state === "running" ? "" : source.sentence || source.state);
}

/** @param {Result} result */
function remember({ end_to_end_ms, capture_ms, readings }) {
  /** @type {import("./parts/history.js").Values} */
  const values = { end: end_to_end_ms, capture: capture_ms };
  /** @type {Object<string, number | undefined>} */
  const winners = {};
  for (const reading of readings) {
    values[`prepare ${reading.model}`] = reading.prepare_ms;
    values[`infer ${reading.model}`] = reading.infer_ms;
    winners[reading.model] = reading.top[0]?.index;
  }
  history.add(values, winners);
}

/** @param {Status} status @param {boolean} again */
function chooser(status, again) {
  showChooser($("chooser"), status, (ids) => connection.send({ select: ids }), again);
}

/** @param {Status} status */
function showResult(status) {
  showPast();
  showReadings($("readings"), result?.readings ?? [], status.models, still.matches);
  set($("fps"), result ? result.fps.toFixed(result.fps < 10 ? 1 : 0) : "–");
  const readings = result?.readings ?? [];
  const both = readings.length === 2;
  $("verdict").hidden = !both;
  if (both) showVerdict(status, readings);
  const tops = readings.map((reading) => reading.top[0]).filter(Boolean);
  const says = (/** @type {number} */ i) => (both ? `${readings[i].precision} says ` : "");
  const told = tops.map((top, i) => `${says(i)}${top.label}, ${percent(top.probability)}`);
  const seen = tops.length ? `: ${tops.map((top) => top.label).join("; ")}` : "";
  const shown = pictured ? `Live picture${seen}` : "No picture yet";
  if (canvas.ariaLabel !== shown) canvas.ariaLabel = shown;
  speaker.seen(tops.map((top) => top.label).join("|"), told.join("; "));
}

/** @param {Status} status @param {Reading[]} readings */
function showVerdict(status, readings) {
  const [a, b] = readings;
  const names = readings.map((reading) => nameOf(status, reading));
  const times = readings.map((reading) => history.recent(`infer ${reading.model}`, 20_000) ?? NaN);
  const faster = times[0] <= times[1] ? 0 : 1;
  const ratio = times[1 - faster] / times[faster];
  if (!Number.isFinite(ratio)) return;
  if (ratio < 1.05) {
    set($("ratio"), "As fast");
    set($("ratio-text"), `as each other: ${ms(times[0])} and ${ms(times[1])}`);
  } else {
    set($("ratio"), `${names[faster]} is ${ratio.toFixed(1)}× as fast`);
    set($("ratio-text"), `${ms(times[faster])}, ${names[1 - faster]} takes ${ms(times[1 - faster])}`);
  }
  const same = a.top[0] && b.top[0] && a.top[0].index === b.top[0].index;
  const share = history.agreement([a.model, b.model]);
  $("agree").dataset.agree = same ? "yes" : "no";
  const sharedPart = percent(share.same / share.of);
  const often = share.of > 20 ? `; the same answer on ${sharedPart} of the last ${share.of} frames` : "";
  set($("agree-text"), `${same ? "They agree now" : "They differ now"}${often}`);
}

function drawCharts() {
  if (document.hidden || status === null) return;
  const active = result ? result.readings.map((reading) => reading.model) : [];
  const now = performance.now();
  /** @param {string} id @param {string[]} names */
  const tile = (id, names) =>
    drawChart(
      $(id),
      names.map((name) => ({ points: history.buckets(name, now), usual: history.recent(name, 2500) })),
    );
  tile("fact-end", ["end"]);
  tile("fact-capture", ["capture"]);
  tile("fact-prepare", active.map((model) => `prepare ${model}`).slice(0, 1));
  tile("fact-infer", active.map((model) => `infer ${model}`));
}

/** @param {ImageBitmap} bitmap */
function drawPicture(bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.closest("main")?.style.setProperty("--aspect", (bitmap.width / bitmap.height).toFixed(4));
  }
  brush.drawImage(bitmap, 0, 0);
  bitmap.close();
  pictured = true;
}

/** @param {string | null} sentence */
function showTrouble(sentence) {
  $("trouble").hidden = !sentence;
  set($("trouble"), sentence ?? "");
}

/** @param {string | null} title @param {string} [text] */
function veil(title, text = "") {
  $("veil").hidden = title === null;
  veiled = title !== null;
  showPast();
  set($("veil-title"), title ?? "");
  set($("veil-text"), text);
}

// What is not now is shown as such: of a source that is gone, a file that is not chosen any more, or one that fails.
function showPast() {
  const { active = [], error = null } = status ?? {};
  const fails = error !== null && performance.now() - answered > 2000;
  const other = result !== null && !result.readings.some((reading) => active.includes(reading.model));
  $("answer").classList.toggle("past", veiled || fails || other);
}

/** @param {"waiting" | "live" | "trouble"} state @param {string} text */
function say(state, text) {
  $("state").dataset.state = state;
  set($("state-text"), text);
}

/** @param {Status} status @param {Reading} reading */
function nameOf(status, reading) {
  const model = status.models.find((each) => each.id === reading.model);
  const same = status.models.filter((each) => each.precision === reading.precision).length > 1;
  return (same && model ? model.file : reading.precision).toUpperCase();
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(0)} h`;
}
