// The Machine view: what is loaded and how it does, the engine, the last requests, the log.
import { ApiError, ask, askJson, lines } from "./api.js";
import { el, redraw } from "./dom.js";
import { bytes } from "./format.js";
import { loadedCard } from "./loaded.js";
import { Requests } from "./requests.js";
import { subscribe } from "./state.js";

const LOG_LINES = 300;
const OWN = /runner\.access .*"GET \/(v1\/models|engines\/ps)"/; // what this page asks all the time
const BROWSER = / "Mozilla\/[^"]*"$/;

export class Machine {
  #facts = el("dl", { className: "pairs" });
  #loaded = el("div", { className: "cards" });
  #requests = new Requests();
  #log = el("pre", { className: "tail", tabIndex: 0, role: "region", "aria-label": "Last lines of the log" });
  #following = null;
  #isLost = false; // asked again when the server is back, or has got its key

  constructor() {
    this.element = el("div", { className: "page" },
      el("h1", {}, "Machine"),
      el("section", { "aria-labelledby": "loaded" }, el("h2", { id: "loaded" }, "In memory"), this.#loaded),
      el("section", { "aria-labelledby": "engine" }, el("h2", { id: "engine" }, "Engine"), this.#facts),
      el("section", { "aria-labelledby": "requests" }, el("h2", { id: "requests" }, "Requests"), this.#requests.element),
      el("section", { "aria-labelledby": "log" }, el("h2", { id: "log" }, "Log"), this.#log));
    subscribe(({ running, online, error }) => {
      this.#showLoaded(running);
      if (this.#isLost && online && !error) this.seen(true);
    });
  }

  /** The view came into sight, or left it. */
  seen(isSeen) {
    this.#following?.abort();
    this.#following = null;
    this.#isLost = false;
    this.#requests.seen(isSeen);
    if (!isSeen) return;
    this.#following = new AbortController();
    const { signal } = this.#following;
    this.#showFacts(signal).catch((error) => this.#fail(this.#facts, error));
    this.#follow(signal).catch((error) => this.#fail(this.#log, error));
  }

  #fail(place, error) {
    if (error.name === "AbortError") return;
    place.replaceChildren(el("p", { className: "failed" }, error.message));
    this.#isLost = error.status === 0 || error.status === 401;
  }

  async #showFacts(signal) {
    const [version, status, usage] = await Promise.all(
      ["/version", "/engines/status", "/engines/df"].map((path) => askJson("GET", path, { signal })));
    const pairs = {
      Server: `runner ${version.version}`,
      Engine: status["llama.cpp"],
      "Models on disk": bytes(usage.models_disk_usage),
    };
    this.#facts.replaceChildren(...Object.entries(pairs).flatMap(pair));
  }

  #showLoaded(running) {
    const cards = running.map(loadedCard);
    redraw(this.#loaded, cards.length ? cards : [el("p", { className: "empty" }, "No model is loaded. The first question to one loads it.")]);
  }

  async #follow(signal) {
    this.#log.textContent = "";
    const answer = await ask("GET", "/logs?follow=true", { signal });
    let tail = [];
    let isDrawn = true;
    for await (const line of lines(answer)) {
      if (OWN.test(line)) continue;
      tail = [...tail.slice(1 - LOG_LINES), line.replace(BROWSER, "")];
      if (!isDrawn) continue;
      isDrawn = false;
      setTimeout(() => {
        isDrawn = true;
        this.#log.textContent = tail.join("\n");
        this.#log.scrollTop = this.#log.scrollHeight;
      }, 100);
    }
    throw new ApiError("The server went away.");
  }
}

function pair([name, value]) {
  return [el("dt", {}, name), el("dd", {}, value)];
}
