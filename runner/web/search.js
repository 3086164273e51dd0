// Looking for models on Docker Hub and Hugging Face.
import { askJson } from "./api.js";
import { button, el } from "./dom.js";
import { bytes, count, shortName } from "./format.js";

const FITS = { yes: "fits here", partial: "tight here", no: "too big for this machine" };
const SOURCES = { all: "Everywhere", dockerhub: "Docker Hub", huggingface: "Hugging Face" };
const LIMIT = 20;

export class Search {
  #input = el("input", { id: "search", type: "search", placeholder: "qwen, gemma, embedding\u2026", autocomplete: "off" });
  #source = el("select", { id: "source", "aria-label": "Where to search" },
    Object.entries(SOURCES).map(([value, label]) => el("option", { value }, label)));
  #words = el("p", { className: "faint", role: "status" });
  #list = el("ul", { className: "cards", "aria-label": "Found models" });
  #stopping = new AbortController();
  #onPull;

  /** `onPull(name)` is called for what the user wants. */
  constructor(onPull) {
    this.#onPull = onPull;
    const form = el("form", { role: "search", on: { submit: (event) => { event.preventDefault(); this.#search(); } } },
      el("label", { for: "search" }, "Search"),
      el("div", { className: "row" }, this.#input, this.#source, el("button", {}, "Search")));
    this.element = el("section", { className: "search", "aria-labelledby": "more" },
      el("h2", { id: "more" }, "More models"), form, this.#words, this.#list);
  }

  async #search() {
    this.#stopping.abort();
    this.#stopping = new AbortController();
    this.#words.textContent = "Searching\u2026";
    this.#list.replaceChildren();
    const query = new URLSearchParams({ term: this.#input.value.trim(), limit: LIMIT, source: this.#source.value });
    try {
      const { models, warnings } = await askJson("GET", `/registries/search?${query}`, { signal: this.#stopping.signal });
      this.#words.textContent = [models.length ? `${count(models.length)} found.` : "Nothing found.", ...warnings].join(" ");
      this.#list.replaceChildren(...models.map((model) => this.#card(model)));
    } catch (error) {
      if (error.name !== "AbortError") this.#words.textContent = error.message;
    }
  }

  #card(model) {
    const facts = [model.source, model.quantization, model.size_bytes && bytes(model.size_bytes),
      FITS[model.fit] ?? model.fit, model.downloads && `${count(model.downloads)} pulls`, model.license,
      model.gated && "needs a login"].filter(Boolean);
    return el("li", { className: "card model" },
      el("div", { className: "row" },
        el("h3", { className: "name" }, shortName(model.name)), el("span", { className: "spring" }),
        button("Pull", () => this.#onPull(model.name), { "aria-label": `Pull ${model.name}` })),
      model.description && el("p", {}, model.description),
      el("p", { className: "facts" }, facts.join(" \u00b7 ")));
  }
}
