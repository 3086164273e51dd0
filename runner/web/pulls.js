// Models that come, and their progress. Leaving ends a pull on the server, which keeps what it has:
// what was not finished stays listed, in this browser, to be resumed. A job is {name, path, body, isPull}.
import { ask, jsonLines } from "./api.js";
import { button, el } from "./dom.js";
import { bytes, duration, shortName } from "./format.js";
import { notify } from "./notices.js";
import { refresh } from "./state.js";

const KEY = "runner.pulls";
const WINDOW_MS = 8000; // that the speed is measured over

export class Pulls {
  #list = el("ul", { className: "pulls", "aria-label": "Pulls" });
  #rows = new Map();

  constructor() {
    this.element = this.#list;
    for (const name of unfinished()) this.#add(pullOf(name));
  }

  /** Begin to pull a model, or go on. */
  start(name) {
    this.begin(pullOf(name));
  }

  /** Begin a job that tells its progress as a pull does. */
  begin(job) {
    (this.#rows.get(job.name) ?? this.#add(job)).start();
  }

  #add(job) {
    const row = new Arrival(job, () => this.#drop(job.name));
    this.#rows.set(job.name, row);
    this.#list.prepend(row.element);
    return row;
  }

  #drop(name) {
    this.#rows.get(name).element.remove();
    this.#rows.delete(name);
    remember(unfinished().filter((one) => one !== name));
  }
}

function pullOf(name) {
  return { name, path: "/models/create", body: { from: name }, isPull: true };
}

class Arrival {
  #job;
  #stopping = null;
  #layers = new Map();
  #total = 0;
  #seen = []; // [ms, bytes] of the last moments
  #onGone;
  #bar = el("progress", { max: 1, value: 0 });
  #words = el("p", { className: "faint words", role: "status" }, "Not finished");
  #parts = el("ul", { className: "parts" });
  #toggle = button("Resume", () => (this.#stopping ? this.#stopping.abort() : this.start()));
  #forget = button("Forget", () => this.#onGone(), { className: "quiet" });

  constructor(job, onGone) {
    const { name } = job;
    this.#job = job;
    this.#onGone = onGone;
    this.#bar.setAttribute("aria-label", `Progress of ${name}`);
    this.element = el("li", { className: "card pull" },
      el("div", { className: "row" },
        el("strong", { className: "name" }, shortName(name)), el("span", { className: "spring" }), this.#toggle, this.#forget),
      this.#bar, this.#words,
      el("details", {}, el("summary", {}, "Files"), this.#parts));
  }

  async start() {
    if (this.#stopping) return;
    this.#stopping = new AbortController();
    const { name, isPull } = this.#job;
    if (isPull) remember([name, ...unfinished().filter((one) => one !== name)]);
    this.#seen = [];
    this.#toggle.textContent = "Cancel";
    this.#forget.hidden = true;
    this.element.classList.remove("failed");
    this.#say(isPull ? "Asking the registry\u2026" : "Reading the file\u2026");
    try {
      await this.#follow(this.#stopping.signal);
      notify(`${shortName(name)} is ready.`);
      this.#onGone();
    } catch (error) {
      const isStopped = error.name === "AbortError";
      this.element.classList.toggle("failed", !isStopped);
      this.#say(!isStopped ? error.message : isPull ? "Cancelled. What came so far is kept." : "Cancelled.");
      this.#toggle.textContent = isPull ? "Resume" : "Try again";
      this.#forget.hidden = false;
    } finally {
      this.#stopping = null;
      refresh();
    }
  }

  async #follow(signal) {
    const { path, body } = this.#job;
    const answer = await ask("POST", path, { body, signal });
    for await (const line of jsonLines(answer)) {
      if (line.type === "error") throw new Error(line.message.replace(/^Error: /, ""));
      if (line.type === "success") return;
      if (line.layer.id) this.#advance(line);
      else if (line.type === "warning") notify(line.message);
      else this.#say(line.message);
    }
    throw new Error("The server went away. What came so far is kept.");
  }

  #advance({ total, layer }) {
    this.#total = total;
    this.#layers.set(layer.id, layer);
    const done = this.#done();
    const now = performance.now();
    this.#seen.push([now, done]);
    while (this.#seen.length > 2 && this.#seen[0][0] < now - WINDOW_MS) this.#seen.shift();
    this.#bar.value = total ? done / total : 0;
    this.#say(this.#progress(done));
    this.#parts.replaceChildren(...[...this.#layers.values()].map((one) => el("li", {},
      el("code", {}, one.id.slice(7, 19)), ` ${bytes(one.current)} of ${bytes(one.size)}`,
      one.present ? ", was here" : "", one.resumed ? `, ${bytes(one.resumed)} from an earlier attempt` : "")));
  }

  #progress(done) {
    const [[begin, had], [end, has]] = [this.#seen[0], this.#seen.at(-1)];
    const speed = end > begin ? ((has - had) / (end - begin)) * 1000 : 0;
    const told = [`${bytes(done)} of ${bytes(this.#total)}`];
    if (speed > 0) told.push(`${bytes(speed)}/s`, `${duration((this.#total - done) / speed)} left`);
    return told.join(" \u00b7 ");
  }

  #done() {
    return [...this.#layers.values()].reduce((sum, layer) => sum + layer.current, 0);
  }

  #say(words) {
    this.#words.textContent = words;
  }
}

function unfinished() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

function remember(names) {
  try {
    localStorage.setItem(KEY, JSON.stringify(names));
  } catch { /* no space is left: it is not there after a reload */ }
}
