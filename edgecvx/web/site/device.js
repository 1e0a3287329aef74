// The page as a device: opened by the link of `edgecvx bench` or `edgecvx validate --device browser`, it does what is asked.

import { Attention } from "./attention.js";
import { Conversation } from "./conversation.js";
import { describe } from "./describe.js";
import { Measurement } from "./measurement.js";
import { make, set } from "./parts/text.js";

/** @param {HTMLElement} main @param {string} token */
export async function serve(main, token) {
  const shown = new Shown(main);
  const conversation = new Conversation(token);
  const attention = new Attention((state) => conversation.alive(state));
  try {
    const joined = await conversation.join(await describe());
    conversation.beat(() => attention.state);
    shown.place(joined.place);
    await attention.keepAwake(true);
    shown.end(await done(conversation, attention, shown));
  } catch (error) {
    shown.trouble(error instanceof Error ? error.message : String(error));
  } finally {
    conversation.end();
    await attention.keepAwake(false);
  }
}

/**
 * Does one thing after the other until the computer says that it was all.
 * @param {Conversation} conversation
 * @param {Attention} attention
 * @param {Shown} shown
 * @returns {Promise<string>} why
 */
async function done(conversation, attention, shown) {
  /** @type {import("./measurement.js").Host} */
  const host = {
    attention,
    stopping: false,
    fetch: (name) => conversation.file(name),
    send: (event) => {
      shown.event(event);
      return conversation.say(JSON.stringify(event));
    },
  };
  /** @type {Measurement | undefined} */
  let measurement;
  /** @type {import("./validate.js").Answers | undefined} */
  let answers;
  for (;;) {
    const asked = await conversation.asked();
    if (asked.do === "end") {
      host.stopping = true;
      measurement?.stop();
      answers?.close();
      return asked.sentence;
    }
    if (asked.do === "bench") {
      measurement = new Measurement(asked.order, host);
      shown.order(asked.order);
      measurement.run().catch((error) => shown.trouble(error.message));
    } else {
      answers ??= new (await import("./validate.js")).Answers(conversation, shown);
      await answers.do(asked);
    }
  }
}

/** What stands on the page meanwhile. */
class Shown {
  #title = make("h1", "measure-title", "edgecvx measures here");
  #say = make("p", "measure-say", "Connecting to the computer…");
  #bar = make("progress", "measure-bar");
  #note = make("p", "measure-note", "Keep this page open and in front, and the device plugged in.");

  /** @param {HTMLElement} main */
  constructor(main) {
    const sheet = make("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("./measure.css", import.meta.url).href;
    document.head.append(sheet);
    const place = make("section", "measure-device");
    this.#say.setAttribute("role", "status");
    this.#bar.ariaLabel = "Progress";
    place.append(this.#title, this.#say, this.#bar, this.#note);
    main.replaceChildren(place);
  }

  /** @param {string} name */
  place(name) {
    set(this.#title, `This is ${name}`);
    set(this.#say, "Waiting for the computer…");
  }

  /** @param {import("./measurement.js").Order} order */
  order({ rounds, first_round, artifacts }) {
    this.#bar.max = rounds;
    this.#bar.value = first_round;
    set(this.#say, `Opening ${artifacts.length === 1 ? "one file" : `${artifacts.length} files`}…`);
  }

  /** @param {Record<string, any>} event */
  event(event) {
    if (event.event === "opened") set(this.#say, "Warming up…");
    if (event.event === "window") set(this.#say, "Running without a pause…");
    if (event.event !== "round") return;
    this.progress(event.round, event.of, "Round");
  }

  /** @param {number} number @param {number} of @param {string} what */
  progress(number, of, what) {
    this.#bar.max = of;
    this.#bar.value = number;
    set(this.#say, `${what} ${number} of ${of}`);
  }

  /** @param {string} sentence */
  end(sentence) {
    set(this.#say, sentence);
    this.#bar.hidden = this.#note.hidden = true;
  }

  /** @param {string} sentence */
  trouble(sentence) {
    this.end(sentence);
    this.#say.classList.add("trouble");
  }
}
