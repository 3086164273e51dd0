// A conversation's own settings: the system prompt, and how tokens are chosen.
import { el, field, select } from "./dom.js";

const number = (name, label, limits) => ({ name, label, limits });
const NUMBERS = [
  number("temperature", "Temperature", { min: "0", max: "2", step: "0.1" }),
  number("top_p", "Top p", { min: "0", max: "1", step: "0.05" }),
  number("top_k", "Top k", { min: "0", step: "1" }),
  number("min_p", "Min p", { min: "0", max: "1", step: "0.01" }),
  number("repeat_penalty", "Repeat penalty", { min: "0.05", max: "2", step: "0.05" }),
  number("presence_penalty", "Presence penalty", { min: "-2", max: "2", step: "0.1" }),
  number("seed", "Seed", { min: "0", step: "1" }),
  number("max_tokens", "Longest answer", { min: "1", step: "1", placeholder: "tokens" }),
];
const EFFORTS = [["", "model's own"], ["none", "off"], ["low", "short"], ["medium", "medium"], ["high", "long"]];

export class Sampling {
  #controls = { system: el("textarea", { id: "system", rows: 3, placeholder: "How the model should behave" }) };
  #effort;

  /** `onChange(name, value)` is called with each setting that changes; empty: left to the model. */
  constructor(onChange) {
    for (const { name, limits } of NUMBERS) {
      this.#controls[name] = el("input", { id: idOf(name), type: "number", placeholder: "model's own", ...limits });
    }
    this.#controls.reasoning_effort = select({ id: "reasoning-effort" }, EFFORTS);
    this.#effort = field("Thinking", this.#controls.reasoning_effort);
    for (const [name, control] of Object.entries(this.#controls)) {
      control.addEventListener("change", () => {
        if (isUsable(control)) onChange(name, control.value);
        else control.reportValidity();
      });
    }
    this.element = el("details", { className: "settings" }, el("summary", {}, "Settings"),
      el("div", { className: "fields" },
        field("System prompt", this.#controls.system, "", "whole"),
        NUMBERS.map(({ name, label }) => field(label, this.#controls[name])), this.#effort));
  }

  show(settings) {
    for (const [name, control] of Object.entries(this.#controls)) control.value = settings[name] ?? "";
  }

  /** Say whether the model thinks, so that it can be told how much. */
  offer(thinks) {
    this.#effort.hidden = !thinks;
  }
}

/** What a request says of the settings. */
export function fieldsOf(settings) {
  const fields = {};
  for (const { name } of NUMBERS) {
    if (settings[name]) fields[name] = Number(settings[name]);
  }
  if (settings.reasoning_effort) fields.reasoning_effort = settings.reasoning_effort;
  return fields;
}

/** Steps are for the arrows: a number between two of them is one, too, unless it must be whole. */
function isUsable({ validity, step }) {
  const { badInput, rangeOverflow, rangeUnderflow, stepMismatch } = validity;
  return !(badInput || rangeOverflow || rangeUnderflow || (stepMismatch && step === "1"));
}

function idOf(name) {
  return name.replaceAll("_", "-");
}
