// The Chat view: conversations at the side, one of them in the middle, the composer below.
import { stream } from "./answering.js";
import * as conversations from "./conversations.js";
import { confirm } from "./dialogs.js";
import { button, el } from "./dom.js";
import { shortName } from "./format.js";
import { Answer, userMessage } from "./message.js";
import { refresh, runningRow, state, subscribe } from "./state.js";

const SAVED_EVERY_MS = 1000; // while an answer comes, so that a reload keeps what there is
const NEAR_END_PX = 80;
const IDEAS = ["Explain what a language model is, in three sentences", "Write a haiku about rain", "Give me a Python function that reverses a list"];

export class Chat {
  #conversation = conversations.fresh();
  #stopping = null; // the AbortController of the answer that is coming
  #answer = null; // its Answer
  #list = el("ul", { className: "conversations" });
  #log = el("div", { className: "log", role: "log", "aria-label": "Conversation", "aria-live": "polite", tabIndex: 0 });
  #model = el("select", { id: "model", "aria-label": "Model" });
  #input = el("textarea", { rows: 1, "aria-label": "Message", placeholder: "Ask anything" });
  #send = el("button", { className: "primary send" }, "Send");
  #system = el("textarea", { id: "system", rows: 3, placeholder: "How the model should behave" });
  #temperature = el("input", { id: "temperature", type: "number", min: "0", max: "2", step: "0.1", placeholder: "model's own" });
  #maxTokens = el("input", { id: "max-tokens", type: "number", min: "1", step: "1", placeholder: "no limit" });
  #side = el("aside", { className: "side", "aria-label": "Conversations", id: "side" });

  constructor() {
    const form = el("form", { className: "composer", on: { submit: (event) => this.#submit(event) } },
      this.#input, el("div", { className: "row" }, this.#model, el("span", { className: "spring" }), this.#send));
    const settings = el("details", { className: "settings" }, el("summary", {}, "Settings"),
      el("div", { className: "fields" },
        el("div", { className: "whole" }, el("label", { for: "system" }, "System prompt"), this.#system),
        el("div", {}, el("label", { for: "temperature" }, "Temperature"), this.#temperature),
        el("div", {}, el("label", { for: "max-tokens" }, "Most tokens of an answer"), this.#maxTokens)));
    this.#side.append(button("New chat", () => this.open(conversations.fresh(this.#model.value)), { className: "primary" }), this.#list);
    const toggle = button("Conversations", () => {
      const isOpen = this.#side.classList.toggle("open");
      toggle.setAttribute("aria-expanded", String(isOpen));
    }, { className: "quiet toggle", "aria-controls": "side", "aria-expanded": "false" });
    this.element = el("div", { className: "chat" }, this.#side,
      el("div", { className: "talk" },
        el("h1", { className: "hidden" }, "Chat"),
        el("div", { className: "row top" }, toggle, settings),
        this.#log, form));
    this.#listen();
    this.open(conversations.list()[0] ?? this.#conversation);
    subscribe(() => this.#stateChanged());
  }

  /** Begin a conversation with a model. */
  begin(model) {
    this.open(conversations.fresh(model));
    this.#input.focus();
  }

  /** Show a conversation. An answer that is coming to another one is stopped. */
  open(conversation) {
    this.#side.classList.remove("open");
    this.#stopping?.abort();
    for (const message of conversation.messages) {
      if (message.pending) Object.assign(message, { pending: false, stopped: true }); // by a reload
    }
    this.#conversation = conversation;
    this.#system.value = conversation.system;
    this.#temperature.value = conversation.temperature;
    this.#maxTokens.value = conversation.maxTokens;
    this.#showModels();
    this.#showList();
    this.#showMessages();
  }

  #switch(conversation) {
    if (conversation.id === this.#conversation.id) this.#side.classList.remove("open");
    else this.open(conversation);
  }

  #listen() {
    this.#input.addEventListener("input", () => this.#fit());
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.#stopping) this.#send.click();
    });
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#stopping?.abort();
    });
    // Else what is being said would be kept as an answer that failed.
    for (const leaving of ["beforeunload", "pagehide"]) { // Safari on phones knows the second only
      addEventListener(leaving, () => this.#stopping?.abort());
    }
    const settings = { system: this.#system, temperature: this.#temperature, maxTokens: this.#maxTokens, model: this.#model };
    for (const [name, control] of Object.entries(settings)) {
      control.addEventListener("change", () => {
        this.#conversation[name] = control.validity.valid ? control.value : "";
        if (this.#conversation.messages.length) conversations.keep(this.#conversation);
      });
    }
  }

  #fit() {
    this.#input.style.height = "auto";
    this.#input.style.height = `${this.#input.scrollHeight}px`;
  }

  // ---- what is shown ----

  #stateChanged() {
    this.#showModels();
    const row = runningRow(this.#conversation.model);
    if (row?.loading) this.#answer?.wait(`Loading the model: ${Math.round(row.fraction * 100)} %`);
  }

  #showModels() {
    const names = state.models.map((model) => model.id);
    this.#conversation.model ||= names[0] ?? "";
    const wanted = this.#conversation.model;
    if (wanted && !names.includes(wanted)) names.push(wanted); // removed since, or not yet known
    const shown = [...this.#model.options].map((option) => option.value);
    if (names.join("\n") !== shown.join("\n")) {
      this.#model.replaceChildren(...names.map((name) => el("option", { value: name }, shortName(name))));
    }
    this.#model.value = wanted;
    this.#model.hidden = names.length === 0;
    if (!this.#conversation.messages.length) this.#showWelcome();
  }

  #showList() {
    this.#list.replaceChildren(...conversations.list().map((one) => el("li", {},
      button(one.title || "Untitled", () => this.#switch(one), {
        className: "quiet title", "aria-current": one.id === this.#conversation.id && "true",
      }),
      button("\u00d7", () => this.#forget(one), { className: "quiet", "aria-label": `Delete ${one.title}` }))));
  }

  #showWelcome() {
    const isEmpty = state.online && !state.error && state.models.length === 0;
    const key = isEmpty ? "empty" : "ready";
    if (this.#log.firstChild?.dataset?.key === key) return;
    const ideas = IDEAS.map((idea) => button(idea, () => { this.#input.value = idea; this.#send.click(); }));
    this.#log.replaceChildren(el("div", { className: "welcome", "data-key": key },
      el("h2", {}, isEmpty ? "No models yet" : "What shall we talk about?"),
      isEmpty
        ? el("p", {}, el("a", { href: "#/models" }, "Pull one"), " to begin. It stays on this machine, and so does what you say.")
        : el("div", { className: "ideas" }, ideas)));
  }

  #showMessages() {
    const { messages } = this.#conversation;
    this.#log.replaceChildren();
    if (!messages.length) this.#showWelcome();
    messages.forEach((message, index) => this.#log.append(this.#element(message, index)));
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #element(message, index) {
    if (message.role === "user") return userMessage(message, () => this.#edit(index));
    const answer = new Answer(message, () => this.#respond(index));
    answer.show();
    if (message.pending) this.#answer = answer;
    return answer.element;
  }

  // ---- what is done ----

  #submit(event) {
    event.preventDefault();
    if (this.#stopping) {
      this.#stopping.abort();
      return;
    }
    const content = this.#input.value.trim();
    if (!content || !this.#conversation.model) return;
    this.#input.value = "";
    this.#fit();
    this.#conversation.messages.push({ role: "user", content });
    this.#respond(this.#conversation.messages.length);
  }

  #edit(index) {
    this.#stopping?.abort();
    this.#input.value = this.#conversation.messages[index].content;
    this.#conversation.messages.length = index;
    this.#showMessages();
    this.#fit();
    this.#input.focus();
  }

  async #forget(one) {
    if (!(await confirm("Delete this conversation?", one.title, "Delete"))) return;
    conversations.forget(one.id);
    if (one.id === this.#conversation.id) this.open(conversations.list()[0] ?? conversations.fresh(one.model));
    else this.#showList();
  }

  /** Let the model say the message at `index`; what followed it goes. */
  async #respond(index) {
    this.#stopping?.abort();
    const conversation = this.#conversation;
    const message = { role: "assistant", content: "", reasoning: "", calls: [], pending: true };
    conversation.messages.length = index;
    conversation.messages.push(message);
    conversations.keep(conversation);
    this.#showList();
    const stopping = new AbortController();
    this.#stopping = stopping;
    this.#send.textContent = "Stop";
    this.#showMessages();
    const answer = this.#answer;
    answer.wait("Waiting for the first word\u2026");
    let saved = performance.now();
    try {
      await stream(conversation, message, {
        signal: stopping.signal,
        onChange: () => {
          this.#following(() => answer.changed());
          if (performance.now() - saved < SAVED_EVERY_MS) return;
          conversations.keep(conversation);
          saved = performance.now();
        },
      });
    } catch (error) {
      if (error.name === "AbortError") message.stopped = true;
      else message.error = error.message;
    } finally {
      message.pending = false;
      conversations.keep(conversation);
      if (this.#stopping === stopping) this.#finish();
      this.#following(() => answer.show());
    }
  }

  #finish() {
    this.#stopping = null;
    this.#answer = null;
    this.#send.textContent = "Send";
    this.#showList();
    refresh();
  }

  /** Do something, and keep the end in sight if it was. */
  #following(change) {
    const isAtEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR_END_PX;
    change();
    if (isAtEnd) requestAnimationFrame(() => { this.#log.scrollTop = this.#log.scrollHeight; });
  }
}
