// The ordinary page: a network, a picture or the camera, and what is seen. Text from files is only ever textContent.

import { Answer } from "./answer.js";
import { Camera, INSECURE } from "./camera.js";
import { Facts } from "./facts.js";
import { Frames } from "./frames.js";
import { acceptPictures } from "./given.js";
import { openMeasuring } from "./measuring.js";
import { Network } from "./network.js";
import { keepOffline } from "./offline.js";
import { Speaker } from "./parts/speaker.js";
import { part, set } from "./parts/text.js";
import { falsified } from "./pictures.js";
import { Stage } from "./stage.js";

/** @typedef {import("./camera.js").Trouble} Trouble */

const LONG_ENOUGH = 8000; // milliseconds, to read a sentence

/** @param {string} id */
const $ = (id) => part(document, `#${id}`);

const stage = new Stage();
const facts = new Facts();
const speaker = new Speaker($("spoken"));
const answer = new Answer($("readings"));
const camera = new Camera(stage.video, cover);
const frames = new Frames(stage.video, answerFrame);
const network = new Network({ onReady, onLoading, onRefused });

/** What is looked at. @type {"nothing" | "camera" | "picture"} */
let looksAt = "nothing";
/** @type {Blob | null} The picture that was given last. */
let given = null;
let isPaused = false;
/** Until when a note about a picture that could not be read stands beside the camera's answers. */
let noteStays = 0;
/** What stands in the picture's place, if anything. @type {Trouble | null} */
let covered = null;

export async function begin() {
  acceptPictures(stage.element, (picture) => void showGiven(picture));
  for (const button of document.querySelectorAll("button")) button.addEventListener("click", () => void act(button));
  document.addEventListener("visibilitychange", () => void rest());
  welcome();
  keepOffline();
  void network.open();
  showNote("warning", await falsified());
  if (await isAllowed()) await startCamera();
}

const WELCOME = {
  title: "What does the camera see?",
  sentence: "The network runs in this page. No picture leaves this device.",
};

function welcome() {
  if (!isSecureContext) return cover(INSECURE);
  covered = null;
  stage.cover(WELCOME, ["start", "choose"]);
}

/** @type {Object<string, () => unknown>} */
const ACTIONS = {
  start: startCamera,
  retry: () => (network.refusal ? network.open() : startCamera()),
  choose: () => $("file").click(),
  take: () => $("photo").click(),
  pause: () => pause(!isPaused),
  camera: startCamera,
  switch: () => startCamera(() => camera.switch()),
  "measure-open": measure,
};

/** @param {HTMLButtonElement} button */
async function act(button) {
  await ACTIONS[button.dataset.offer ?? button.id]?.();
}

// --- what is looked at

/** @param {() => Promise<Trouble | null>} [open] */
async function startCamera(open = () => camera.again()) {
  if (network.refusal) return;
  looksAt = "camera";
  isPaused = false;
  covered = null;
  showState("waiting", "Waiting for the camera");
  const trouble = await open();
  if (looksAt !== "camera") return;
  if (trouble) return cover(trouble);
  if (!camera.isOn) return; // given back while it was opened
  stage.showCamera(camera.isFront);
  $("switch").hidden = !(await camera.hasOthers());
  follow();
}

function follow() {
  answer.forget();
  showControls();
  frames.start();
}

/** @param {boolean} wanted */
function pause(wanted) {
  isPaused = wanted;
  if (!wanted && !camera.isOn) return startCamera();
  if (wanted) {
    frames.stop();
    stage.freeze();
  } else {
    stage.showCamera(camera.isFront);
    follow();
  }
  showControls();
}

// Nobody looks: the camera is given back, and nothing is computed.
async function rest() {
  if (document.hidden) {
    if (camera.isOn) stage.freeze();
    frames.stop();
    camera.stop();
  } else if (looksAt === "camera" && !isPaused && covered === null) {
    await startCamera();
  }
}

/** @param {Blob} picture */
async function showGiven(picture) {
  if (network.refusal) return;
  const bitmap = await createImageBitmap(picture).catch(() => null);
  if (bitmap === null) {
    noteStays = performance.now() + LONG_ENOUGH;
    showNote("trouble", `${nameOf(picture)} is no picture that this browser can read: take a JPEG, PNG or WebP`);
    return;
  }
  frames.stop();
  camera.stop();
  looksAt = "picture";
  given = picture;
  isPaused = false;
  covered = null;
  stage.showPicture(bitmap);
  bitmap.close();
  answer.clear();
  showControls();
  await answerPicture();
}

// --- what is seen

/**
 * The frame that the camera shows now.
 * @param {number} arrived When it came.
 */
async function answerFrame(arrived) {
  const taken = performance.now();
  const asked = network.model;
  if (asked === null) return;
  try {
    const asking = asked.classify(stage.video);
    const isCut = answer.isCut(stage.video);
    const { logits, times } = await asking;
    if (asked !== network.model || looksAt !== "camera" || isPaused) return;
    facts.add(times, arrived, taken);
    if (performance.now() > noteStays) showNote("trouble", null);
    showAnswer(answer.ofFrame(logits, arrived / 1000, isCut));
  } catch (error) {
    if (asked === network.model && looksAt === "camera" && camera.isOn) showNote("trouble", sentenceOf(error));
  }
}

async function answerPicture() {
  const asked = network.model;
  const picture = given;
  if (asked === null || picture === null) return;
  const taken = performance.now();
  try {
    const { logits, times } = await asked.classify(picture);
    if (asked !== network.model || looksAt !== "picture" || picture !== given) return;
    facts.add(times, taken, taken);
    showNote("trouble", null);
    showAnswer(answer.ofPicture(logits));
  } catch (error) {
    if (asked === network.model && picture === given) showNote("trouble", sentenceOf(error));
  }
}

/** @param {import("./answer.js").Seen} seen */
function showAnswer({ trouble, label, sentence }) {
  if (trouble) showNote("trouble", trouble);
  $("answer").classList.remove("past");
  $("hint").hidden = true;
  const isLive = looksAt === "camera";
  stage.describe(label ? `${isLive ? "Live picture" : "Picture"}: ${label}` : "Picture");
  if (isLive) speaker.seen(label, sentence);
  else if (sentence) speaker.say(sentence); // it will not change any more
}

// --- the network

/** @param {string} hint */
function onReady(hint) {
  answer.use(network);
  facts.forget();
  set($("hint"), hint);
  $("hint").hidden = answer.isShown;
  if (looksAt === "nothing") welcome();
  if (looksAt === "picture") void answerPicture();
  showControls();
}

function onLoading() {
  $("answer").classList.add("past");
  $("hint").hidden = true;
  showNote("trouble", null);
  showControls();
}

/** @param {string} sentence */
function onRefused(sentence) {
  frames.stop();
  camera.stop();
  looksAt = "nothing";
  answer.clear();
  $("hint").hidden = true;
  cover({ title: "No answers here", sentence });
}

// --- measuring

async function measure() {
  if (looksAt === "camera" && !isPaused) pause(true);
  camera.stop();
  await openMeasuring($("measure"), network.site);
}

// --- how things stand

/** @param {Trouble} trouble */
function cover(trouble) {
  frames.stop();
  camera.stop();
  covered = trouble;
  const again = trouble === INSECURE ? "take" : "retry";
  stage.cover(trouble, network.refusal ? ["retry"] : [again, "choose"]);
  showControls();
}

function showControls() {
  const isCamera = looksAt === "camera";
  $("pause").hidden = $("switch").hidden = !isCamera;
  $("camera").hidden = isCamera;
  $("badge").hidden = !isPaused;
  $("pause").setAttribute("aria-pressed", String(isPaused));
  $("pause").setAttribute("aria-label", isPaused ? "Go on" : "Pause");
  $("pause").title = isPaused ? "Go on" : "Pause";
  const [state, words] = stateNow();
  showState(state, words);
  speaker.notice("state", covered ? `${covered.title}. ${covered.sentence}` : "");
}

/** @returns {["live" | "waiting" | "trouble", string]} */
function stateNow() {
  if (covered) return ["trouble", covered.title];
  if (network.model === null) return ["waiting", "Loading the network"];
  if (isPaused) return ["waiting", "Paused"];
  if (looksAt === "camera") return ["live", `Live from ${camera.name}`];
  return looksAt === "picture" ? ["live", nameOf(given)] : ["waiting", "Ready"];
}

/**
 * @param {string} state
 * @param {string} words
 */
function showState(state, words) {
  $("state").dataset.state = state;
  set($("state-text"), words);
}

/**
 * @param {"trouble" | "warning"} which
 * @param {string | null} sentence
 */
function showNote(which, sentence) {
  $(which).hidden = sentence === null;
  set($(which), sentence ?? "");
  speaker.notice(which, sentence ?? "");
}

/** @returns {Promise<boolean>} Whether the camera was allowed before, so that nobody is asked unasked. */
async function isAllowed() {
  try {
    const name = /** @type {PermissionName} */ ("camera");
    return looksAt === "nothing" && (await navigator.permissions.query({ name })).state === "granted";
  } catch {
    return false; // a browser that does not tell
  }
}

/** @param {Blob | null} picture */
function nameOf(picture) {
  return picture instanceof File && picture.name ? picture.name : "A picture";
}

/** @param {unknown} error */
function sentenceOf(error) {
  return error instanceof Error ? error.message : String(error);
}
