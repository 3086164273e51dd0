// The Chat view: conversations at the side, one of them in the middle, the composer below.
import { stream } from "./answering.js";
import { Composer } from "./composer.js";
import * as conversations from "./conversations.js";
import { confirm } from "./dialogs.js";
import { button, el } from "./dom.js";
import { Answer, userMessage } from "./message.js";
import { Sampling } from "./sampling.js";
import { abilitiesOf, refresh, runningRow, state, subscribe } from "./state.js";

const SAVED_EVERY_MS = 1000; // while an answer comes, so that a reload keeps what there is
const NEAR_END_PX = 80;
const IDEAS = ["Explain what a language model is, in three sentences", "Write a haiku about rain", "Give me a Python function that reverses a list"];

export class Chat {
  #conversation = conversations.fresh();
  #stopping = null; // the AbortController of the answer that is coming
  #answer = null; // its Answer
  #list = el("ul", { className: "conversations" });
  #log = el("div", { className: "log", role: "log", "aria-label": "Conversation", "aria-live": "polite", tabIndex: 0 });
  #composer = new Composer({
    onSend: (content, images) => this.#say({ role: "user", content, images }),
    onStop: () => this.#stopping?.abort(),
    onModel: (name) => this.#set((conversation) => { conversation.model = name; }),
  });
  #sampling = new Sampling((name, value) => this.#set(({ settings }) => { settings[name] = value; }));
  #toggle = button("Conversations", () => this.#openSide(!this.#side.classList.contains("open")), {
    className: "quiet toggle", "aria-controls": "side", "aria-expanded": "false",
  });
  #side = el("aside", { className: "side", "aria-label": "Conversations", id: "side" });

  constructor() {
    this.#side.append(button("New chat", () => this.open(conversations.fresh(this.#composer.model)), { className: "primary" }), this.#list);
    this.element = el("div", { className: "chat" }, this.#side,
      el("div", { className: "talk" },
        el("h1", { className: "hidden" }, "Chat"),
        el("div", { className: "row top" }, this.#toggle, this.#sampling.element),
        this.#log, this.#composer.element));
    this.#listen();
    conversations.tidy();
    this.open(conversations.list()[0] ?? this.#conversation);
    subscribe(() => this.#stateChanged());
  }

  /** Begin a conversation with a model. */
  begin(model) {
    this.open(conversations.fresh(model));
    this.#composer.focus();
  }

  /** Show a conversation. An answer that is coming to another one is stopped. */
  open(conversation) {
    this.#openSide(false);
    this.#stopping?.abort();
    for (const message of conversation.messages) {
      if (message.pending) Object.assign(message, { pending: false, stopped: true }); // by a reload
    }
    this.#conversation = conversation;
    this.#sampling.show(conversation.settings);
    this.#showModels();
    this.#showList();
    this.#showMessages();
  }

  #switch(conversation) {
    if (conversation.id === this.#conversation.id) this.#openSide(false);
    else this.open(conversation);
  }

  /** On a phone the conversations lie over the one that is shown. */
  #openSide(isOpen) {
    const hadFocus = this.#side.contains(document.activeElement);
    this.#side.classList.toggle("open", isOpen);
    this.#toggle.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen && hadFocus) this.#toggle.focus();
  }

  #listen() {
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      if (this.#side.classList.contains("open")) this.#openSide(false);
      else this.#stopping?.abort();
    });
    this.#log.addEventListener("click", () => this.#openSide(false));
    addEventListener("storage", () => this.#changedElsewhere());
    // Else what is being said would be kept as an answer that failed.
    for (const leaving of ["beforeunload", "pagehide"]) { // Safari on phones knows the second only
      addEventListener(leaving, () => this.#stopping?.abort());
    }
  }

  /** Another tab has said something: what it said to the conversation shown here must not be lost. */
  #changedElsewhere() {
    const { id, changed } = this.#conversation;
    const now = conversations.list().find((one) => one.id === id);
    if (now?.changed > changed && !this.#stopping) this.open(now);
    else this.#showList();
  }

  /** Change the conversation as the user wants. */
  #set(change) {
    change(this.#conversation);
    if (this.#conversation.messages.length) conversations.keep(this.#conversation);
    this.#showModels();
  }

  // ---- what is shown ----

  #stateChanged() {
    this.#showModels();
    const row = runningRow(this.#conversation.model);
    if (row?.loading) this.#answer?.wait(`Loading the model: ${Math.round(row.fraction * 100)} %`);
  }

  #showModels() {
    const names = state.models.map((model) => model.id).filter((name) => abilitiesOf(name)?.includes("completion") ?? true);
    this.#conversation.model ||= names[0] ?? "";
    const wanted = this.#conversation.model;
    if (wanted && !names.includes(wanted)) names.push(wanted); // removed since, or not yet known
    const abilities = abilitiesOf(wanted) ?? [];
    this.#composer.offer(names, wanted, abilities.includes("vision"));
    this.#sampling.offer(abilities.includes("thinking"));
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
    const ideas = IDEAS.map((idea) => button(idea, () => this.#say({ role: "user", content: idea })));
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

  #say(message) {
    if (!this.#conversation.model) return; // none is known yet
    this.#conversation.messages.push(message);
    this.#respond(this.#conversation.messages.length);
  }

  #edit(index) {
    this.#stopping?.abort();
    this.#composer.write(this.#conversation.messages[index]);
    this.#conversation.messages.length = index;
    this.#showMessages();
    this.#composer.focus();
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
    this.#composer.busy(true);
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
          conversations.update(conversation);
          saved = performance.now();
        },
      });
    } catch (error) {
      if (error.name === "AbortError") message.stopped = true;
      else message.error = error.message;
    } finally {
      message.pending = false;
      conversations.update(conversation);
      if (this.#stopping === stopping) this.#finish();
      this.#following(() => answer.show());
    }
  }

  #finish() {
    this.#stopping = null;
    this.#answer = null;
    this.#composer.busy(false);
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
