// The Machine view: the engine, what is loaded and how it does, the disk, the log.
import { ask, askJson, lines } from "./api.js";
import { el } from "./dom.js";
import { bytes, count, duration, shortName } from "./format.js";
import { subscribe } from "./state.js";

const LOG_LINES = 300;

export class Machine {
  #facts = el("dl", { className: "pairs" });
  #loaded = el("div", {});
  #log = el("pre", { className: "tail", tabIndex: 0, role: "region", "aria-label": "Last lines of the log" });
  #following = null;

  constructor() {
    this.element = el("div", { className: "page" },
      el("h1", {}, "Machine"),
      el("section", { "aria-labelledby": "engine" }, el("h2", { id: "engine" }, "Engine"), this.#facts),
      el("section", { "aria-labelledby": "loaded" }, el("h2", { id: "loaded" }, "In memory"), this.#loaded),
      el("section", { "aria-labelledby": "log" }, el("h2", { id: "log" }, "Log"), this.#log));
    subscribe(({ running }) => this.#showLoaded(running));
  }

  /** The view came into sight, or left it. */
  seen(isSeen) {
    this.#following?.abort();
    this.#following = null;
    if (!isSeen) return;
    this.#following = new AbortController();
    const { signal } = this.#following;
    this.#showFacts(signal).catch((error) => show(this.#facts, error));
    this.#follow(signal).catch((error) => show(this.#log, error));
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
    if (!running.length) {
      this.#loaded.replaceChildren(el("p", { className: "faint" }, "No model is loaded. The first question to one loads it."));
      return;
    }
    this.#loaded.replaceChildren(...running.map((row) => el("article", { className: "card" },
      el("h3", { className: "name" }, shortName(row.tags[0] ?? row.model_name)),
      el("dl", { className: "pairs" }, Object.entries(loadedFacts(row)).flatMap(pair)))));
  }

  async #follow(signal) {
    this.#log.textContent = "";
    const answer = await ask("GET", "/logs?follow=true", { signal });
    let tail = [];
    let isDrawn = true;
    for await (const line of lines(answer)) {
      tail = [...tail.slice(1 - LOG_LINES), line];
      if (!isDrawn) continue;
      isDrawn = false;
      setTimeout(() => {
        isDrawn = true;
        this.#log.textContent = tail.join("\n");
        this.#log.scrollTop = this.#log.scrollHeight;
      }, 100);
    }
  }
}

function show(place, error) {
  if (error.name !== "AbortError") place.replaceChildren(el("p", { className: "failed" }, error.message));
}

function pair([name, value]) {
  return [el("dt", {}, name), el("dd", {}, value)];
}

function loadedFacts(row) {
  if (row.loading) return { State: `loading, ${Math.round(row.fraction * 100)} %` };
  const told = {
    State: row.running ? `answering ${count(row.running)}` : "idle",
    Waiting: count(row.waiting),
  };
  if (row.memory_bytes) told.Memory = bytes(row.memory_bytes);
  if (row.devices) told.Devices = row.devices.join(", ");
  if (row.threads) told.Threads = count(row.threads);
  if (row.settings) told.Context = `${count(row.settings.context_size)} tokens, ${count(row.settings.parallel)} at once`;
  if (row.cells_total) told["KV cache"] = `${count(row.cells_used)} of ${count(row.cells_total)} cells`;
  if (row.completion_tokens !== undefined) {
    told["Since it was loaded"] = `${count(row.prompt_tokens)} prompt tokens (${count(row.cached_tokens)} from cache), ${count(row.completion_tokens)} written`;
  }
  if (row.expires_at) told.Unloads = `in ${duration((new Date(row.expires_at) - Date.now()) / 1000)} unless it is used`;
  return told;
}
