// The last requests with their texts, if the server records them. They are private and may be large:
// they are asked for only while they are looked at.
import { ask, serverEvents } from "./api.js";
import { el } from "./dom.js";
import { count, shortName } from "./format.js";

const SHOWN = 50;

export class Requests {
  #list = el("ul", { className: "cards", "aria-label": "Requests" });
  #words = el("p", { className: "faint", role: "status" });
  #following = null;

  constructor() {
    this.element = el("details", { className: "requests", on: { toggle: () => this.seen(true) } },
      el("summary", {}, "Show the last requests with their texts"), this.#words, this.#list);
  }

  /** The view came into sight, or left it. */
  seen(isSeen) {
    this.#following?.abort();
    this.#following = null;
    this.#list.replaceChildren();
    if (!isSeen || !this.element.open) return;
    this.#following = new AbortController();
    this.#words.textContent = "Asking\u2026";
    this.#follow(this.#following.signal).catch((error) => {
      if (error.name !== "AbortError") this.#words.textContent = error.message;
    });
  }

  async #follow(signal) {
    const headers = { Accept: "text/event-stream" };
    const answer = await ask("GET", "/engines/requests?include_existing=true", { headers, signal });
    for await (const { event, data } of serverEvents(answer)) {
      if (event === "connected") this.#words.textContent = this.#list.childElementCount ? "The newest first." : "None yet. What is asked from now on appears here.";
      else for (const { records } of JSON.parse(data)) records.forEach((record) => this.#add(record));
    }
    this.#words.textContent = "The server went away.";
  }

  #add(record) {
    if (this.#words.textContent.startsWith("None")) this.#words.textContent = "The newest first.";
    this.#list.prepend(el("li", {}, card(record)));
    while (this.#list.childElementCount > SHOWN) this.#list.lastChild.remove();
  }
}

function card(record) {
  const isFailed = record.status_code >= 400 || Boolean(record.error);
  const when = new Date(record.timestamp * 1000);
  const request = el("pre", { tabIndex: 0 });
  const answer = el("pre", { tabIndex: 0 });
  const shown = el("details", { className: "card", on: { toggle: () => {
    request.textContent = pretty(record.request);
    answer.textContent = pretty(record.error || record.response);
  } } },
    el("summary", {},
      el("time", { dateTime: when.toISOString() }, when.toLocaleTimeString()), " ",
      el("strong", { className: isFailed ? "failed" : "" }, String(record.status_code)),
      ` ${record.method} ${record.url} \u00b7 ${[shortName(record.model), ...cost(record.response)].join(" \u00b7 ")}`),
    el("h3", {}, "Request"), request, el("h3", {}, isFailed ? "Error" : "Answer"), answer);
  return shown;
}

/** What an answer in OpenAI's form took. */
function cost(response) {
  const { usage, timings } = parsed(response) ?? {};
  const told = [];
  if (usage?.completion_tokens) told.push(`${count(usage.completion_tokens)} tokens`);
  if (timings?.predicted_per_second) told.push(`${timings.predicted_per_second.toFixed(1)} tok/s`);
  return told;
}

function pretty(text) {
  const value = parsed(text);
  return value === undefined ? text : JSON.stringify(value, null, 2);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a stream as it was sent, or what was too long to keep whole
  }
}
