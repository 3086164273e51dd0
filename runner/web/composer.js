// Where a message is written: its words, the pictures that go with it, the model that answers.
import { button, el } from "./dom.js";
import { shortName } from "./format.js";
import { report } from "./notices.js";
import { picture, pictureFiles } from "./pictures.js";

const MAX_PICTURES = 8;

export class Composer {
  #onSend;
  #isBusy = false;
  #sees = false;
  #pictures = [];
  #input = el("textarea", { rows: 1, "aria-label": "Message", placeholder: "Ask anything" });
  #shown = el("ul", { className: "pictures", "aria-label": "Pictures of this message" });
  #file = el("input", { type: "file", accept: "image/*", multiple: true, hidden: true });
  #attach = button("Add pictures", () => this.#file.click(), { className: "quiet attach", hidden: true });
  #model = el("select", { id: "model", "aria-label": "Model" });
  #send = el("button", { className: "primary send" }, "Send");

  /** `onSend(content, images)` is called with what was written, `onStop()` while an answer comes,
   *  `onModel(name)` when another model is chosen. */
  constructor({ onSend, onStop, onModel }) {
    this.#onSend = onSend;
    this.element = el("form", { className: "composer", on: {
      submit: (event) => { event.preventDefault(); if (this.#isBusy) onStop(); else this.#submit(); },
      dragover: (event) => event.preventDefault(),
      drop: (event) => { event.preventDefault(); this.#add(event.dataTransfer.files); },
    } }, this.#shown, this.#input,
      el("div", { className: "row" }, this.#model, this.#attach, el("span", { className: "spring" }), this.#send), this.#file);
    this.#input.addEventListener("input", () => this.#fit());
    this.#input.addEventListener("paste", (event) => this.#add(event.clipboardData.files));
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.#isBusy) this.#submit();
    });
    this.#file.addEventListener("change", () => { this.#add(this.#file.files); this.#file.value = ""; });
    this.#model.addEventListener("change", () => onModel(this.#model.value));
  }

  get model() {
    return this.#model.value;
  }

  focus() {
    this.#input.focus();
  }

  /** Put a message here, to be changed or sent. */
  write({ content, images = [] }) {
    this.#input.value = content;
    this.#pictures = [...images];
    this.#showPictures();
    this.#fit();
  }

  /** While an answer comes the button stops it. */
  busy(isBusy) {
    this.#isBusy = isBusy;
    this.#send.textContent = isBusy ? "Stop" : "Send";
  }

  /** Show which models there are, which one answers, and whether it sees. */
  offer(names, wanted, sees) {
    const shown = [...this.#model.options].map((option) => option.value);
    if (names.join("\n") !== shown.join("\n")) {
      this.#model.replaceChildren(...names.map((name) => el("option", { value: name }, shortName(name))));
    }
    this.#model.value = wanted;
    this.#model.hidden = names.length === 0;
    this.#sees = sees;
    this.#attach.hidden = !sees;
  }

  #submit() {
    const content = this.#input.value.trim();
    if ((!content && !this.#pictures.length) || !this.model) return;
    const images = this.#pictures;
    this.write({ content: "" });
    this.#onSend(content, images);
  }

  async #add(files) {
    const found = pictureFiles(files);
    if (!found.length) return;
    if (!this.#sees) {
      report(new Error(`${shortName(this.model)} does not see pictures. Choose a model that does.`));
      return;
    }
    try {
      const read = await Promise.all(found.map(picture));
      this.#pictures = [...this.#pictures, ...read].slice(0, MAX_PICTURES);
    } catch (error) {
      report(error);
    }
    this.#showPictures();
  }

  #showPictures() {
    this.#shown.replaceChildren(...this.#pictures.map((source, index) => el("li", {},
      el("img", { src: source, alt: `Picture ${index + 1}` }),
      button("\u00d7", () => {
        this.#pictures.splice(index, 1);
        this.#showPictures();
        this.#input.focus();
      }, { "aria-label": `Remove picture ${index + 1}` }))));
  }

  #fit() {
    this.#input.style.height = "auto";
    this.#input.style.height = `${this.#input.scrollHeight}px`;
  }
}
