// One message of a conversation on the page.
import { button, copy, el } from "./dom.js";
import { count } from "./format.js";
import { Markdown } from "./markdown.js";

/** What the user said; `onEdit` puts it back into the composer. */
export function userMessage(message, onEdit) {
  return el("article", { className: "message user", "aria-label": "You" },
    message.images?.length > 0 && el("div", { className: "pictures" },
      message.images.map((source, index) => el("img", { src: source, alt: `Picture ${index + 1}` }))),
    message.content && el("div", { className: "said" }, message.content),
    el("div", { className: "tools" },
      message.content && button("Copy", (event) => copy(message.content, event.currentTarget), { className: "quiet" }),
      button("Edit", onEdit, { className: "quiet" })));
}

/** What the model says, while it says it and after. */
export class Answer {
  #message;
  #markdown;
  #thoughts = el("div", { className: "thoughts" });
  #thinking = el("details", { className: "thinking", hidden: true }, el("summary", {}, "Thinking"), this.#thoughts);
  #body = el("div", { className: "markdown" });
  #calls = el("div", { className: "calls" });
  #status = el("p", { className: "waiting", role: "status" });
  #facts = el("span", { className: "facts" });
  #retry;
  #frame = 0;

  constructor(message, onRetry) {
    this.#message = message;
    this.#markdown = new Markdown(this.#body);
    this.#retry = button("Regenerate", onRetry, { className: "quiet" });
    this.element = el("article", { className: "message assistant", "aria-label": "Model" },
      this.#thinking, this.#body, this.#calls, this.#status,
      el("div", { className: "tools" },
        button("Copy", (event) => copy(message.content, event.currentTarget), { className: "quiet" }),
        this.#retry, this.#facts));
  }

  /** Show what the message holds, once per frame however often it is called. */
  changed() {
    this.#frame ||= requestAnimationFrame(() => this.show());
  }

  show() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const message = this.#message;
    this.#markdown.show(message.content);
    this.#thinking.hidden = !message.reasoning;
    if (message.reasoning) {
      this.#thoughts.textContent = message.reasoning;
      const isThinking = message.pending && !message.content;
      this.#thinking.firstChild.textContent = isThinking ? "Thinking\u2026" : "Thoughts";
    }
    this.#calls.replaceChildren(...message.calls.map((call) =>
      el("details", { className: "call" }, el("summary", {}, `Calls ${call.name}`), el("pre", {}, call.arguments))));
    this.element.classList.toggle("pending", Boolean(message.pending));
    this.element.setAttribute("aria-busy", String(Boolean(message.pending)));
    this.#status.hidden = !this.#showStatus(message);
    this.#facts.textContent = message.pending ? "" : facts(message);
  }

  /** Say what is waited for, as that the model is being loaded. */
  wait(words) {
    if (this.#message.pending && !this.#message.content) this.#status.textContent = words;
  }

  #showStatus(message) {
    this.#status.className = message.error ? "failed" : "waiting";
    if (message.error) this.#status.textContent = message.error;
    return message.error || (message.pending && !message.content && !message.reasoning);
  }
}

function facts(message) {
  const told = [];
  if (message.tokensPerSecond) told.push(`${message.tokensPerSecond.toFixed(1)} tok/s`);
  if (message.tokens) told.push(`${count(message.tokens)} tokens`);
  if (message.cached) told.push(`${count(message.cached)} of ${count(message.prompt)} prompt tokens cached`);
  if (message.stopped) told.push("stopped");
  if (message.cut) told.push("cut at the limit of tokens");
  return told.join(" \u00b7 ");
}
