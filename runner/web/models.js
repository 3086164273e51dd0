// The Models view: what is stored, what comes, what can be had.
import { ask, askJson } from "./api.js";
import { confirm, tell } from "./dialogs.js";
import { button, el, redraw } from "./dom.js";
import { bytes, count, shortName } from "./format.js";
import { importing } from "./importing.js";
import { badge, change, unload } from "./loaded.js";
import { notify, report } from "./notices.js";
import { Pulls } from "./pulls.js";
import { Search } from "./search.js";
import { ORIGINS } from "./settings.js";
import { abilitiesOf, refresh, runningRow, subscribe } from "./state.js";

const ABILITIES = { vision: "sees pictures", tools: "calls tools", thinking: "thinks", embedding: "makes vectors" };
const EXAMPLES = ["ai/smollm2", "ai/gemma3", "ai/qwen3"];

export class Models {
  #pulls = new Pulls();
  #list = el("ul", { className: "cards", "aria-label": "Local models" });
  #sum = el("p", { className: "faint" });
  #input = el("input", { id: "pull-name", required: true, placeholder: "ai/smollm2 or hf.co/USER/MODEL-GGUF", autocomplete: "off", spellcheck: false, autocapitalize: "none" });
  #onRun;
  #shown = "";

  constructor(onRun) {
    this.#onRun = onRun;
    const form = el("form", { className: "pull-form", on: { submit: (event) => this.#submit(event) } },
      el("label", { for: "pull-name" }, "Pull a model"),
      el("div", { className: "row" }, this.#input, el("button", { className: "primary" }, "Pull")));
    this.element = el("div", { className: "page" },
      el("h1", {}, "Models"), form, importing((job) => this.#pulls.begin(job)), this.#pulls.element,
      el("section", { "aria-labelledby": "here" },
        el("div", { className: "row heading" }, el("h2", { id: "here" }, "On this machine"), this.#sum), this.#list),
      new Search((name) => this.#pulls.start(name)).element);
    subscribe((state) => this.#show(state));
  }

  #submit(event) {
    event.preventDefault();
    this.#pulls.start(this.#input.value.trim());
    this.#input.value = "";
  }

  #show({ models, running, online, error }) {
    const rows = models.map((model) => ({ model, row: runningRow(model.id) }));
    const key = JSON.stringify([rows.map(({ model, row }) => [model.id, model.created, badge(row).textContent, abilitiesOf(model.id)]), online && !error]);
    if (key === this.#shown) return;
    this.#sum.textContent = models.length ? `${count(models.length)} ${models.length === 1 ? "model" : "models"}, ${bytes(models.reduce((sum, one) => sum + one.meta.size, 0))}` : "";
    const isEmpty = !models.length && online && !error;
    const cards = isEmpty ? [this.#empty()] : rows.map(({ model, row }) => this.#card(model, row));
    if (redraw(this.#list, cards)) this.#shown = key;
  }

  #empty() {
    const ideas = EXAMPLES.map((name) => button(`Pull ${name}`, () => this.#pulls.start(name)));
    return el("li", { className: "empty" }, el("p", {}, "Nothing here yet. To begin with something small:"), el("div", { className: "ideas" }, ideas));
  }

  #card(model, row) {
    const { dmr, meta, id } = model;
    const abilities = abilitiesOf(id) ?? ["completion"];
    const facts = [dmr.parameters && `${dmr.parameters} parameters`, dmr.quantization, bytes(meta.size),
      dmr.context_window && `${count(dmr.context_window)} tokens of context`, dmr.architecture,
      ...abilities.map((one) => ABILITIES[one])].filter(Boolean);
    const does = (label, action, properties = {}) => button(label, () => action().catch(report), {
      ...properties, "data-does": `${label} ${id}`, "aria-label": `${label} ${shortName(id)}`,
    });
    return el("li", { className: "card model" },
      el("div", { className: "row" }, el("h3", { className: "name" }, shortName(id)), badge(row)),
      el("p", { className: "facts" }, facts.join(" \u00b7 ")),
      el("div", { className: "row actions" },
        abilities.includes("completion") && does("Run", () => this.#run(id), { className: "primary" }),
        row && does("Unload", () => unload(id)),
        does("Settings", () => change(id)),
        does("Inspect", () => this.#inspect(id)),
        el("span", { className: "spring" }),
        does("Remove", () => this.#remove(id, meta.size), { className: "quiet danger-text" })));
  }

  async #run(id) {
    this.#onRun(id);
    // Loaded already while the question is written.
    const loading = ask("POST", "/v1/chat/completions", { body: { model: id }, headers: { "X-Preload-Only": "true" } });
    refresh();
    await loading;
  }

  async #remove(id, size) {
    const detail = `Frees up to ${bytes(size)}. To have it again it must be pulled again.`;
    if (!(await confirm(`Remove ${shortName(id)}?`, detail, "Remove"))) return;
    await ask("DELETE", `/models/${encodeURIComponent(id)}`);
    notify(`${shortName(id)} is removed.`);
    await refresh();
  }

  async #inspect(id) {
    const path = encodeURIComponent(id);
    const [model, settings] = await Promise.all([
      askJson("GET", `/models/${path}`), askJson("GET", `/engines/settings/${path}`),
    ]);
    const { gguf = {}, ...config } = model.config;
    const { "tokenizer.chat_template": template, ...metadata } = gguf;
    await tell(shortName(id),
      facts({ ...config, names: (model.tags ?? []).join(", "), id: model.id }),
      el("h3", {}, "Files"),
      table(["Path", "What it is", "Size"], model.files.map(({ path: where, role, size }) => [where, role, bytes(size)])),
      el("h3", {}, "Settings"),
      table(["Setting", "Value", "From"], settings.map(({ name, value, origin }) => [name, value, ORIGINS[origin] ?? origin])),
      template && el("details", {}, el("summary", {}, "Chat template"), el("pre", { tabIndex: 0 }, template)),
      el("details", {}, el("summary", {}, "Metadata"), facts(metadata)));
  }
}

function facts(object) {
  return table(["Name", "Value"], Object.entries(object).map(([name, value]) => [name, value]));
}

function table(head, rows) {
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return el("div", { className: "table", tabIndex: 0 }, el("table", {},
    el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, text(cell))))))));
}
