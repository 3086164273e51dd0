// How a model is to be run: the dialog that keeps it for the model, as `runner configure` does.
import { ask, askJson } from "./api.js";
import { open } from "./dialogs.js";
import { button, el, field, select } from "./dom.js";
import { shortName } from "./format.js";

/** Who said so, of each setting. */
export const ORIGINS = {
  configure: "set here",
  compose: "set by Compose",
  serve: "of the server",
  package: "packaged with the model",
  measured: "measured on this machine",
  default: "default",
  request: "asked for by a request",
};
const KEPT = new Set(["configure", "compose"]); // what this dialog can take back

// `send(value, body)` writes a wish into the body of `_configure`.
const SETTINGS = [
  {
    name: "context_size", label: "Context, in tokens",
    control: (id) => el("input", { id, type: "number", min: "256", step: "1", placeholder: "not set" }),
    send: (value, body) => { body["context-size"] = Number(value); },
  },
  {
    name: "keep_alive", label: "Stays in memory",
    choices: { "1m0s": "1 minute after its last use", "5m0s": "5 minutes", "30m0s": "30 minutes", "2h0m0s": "2 hours", "-1": "always" },
    send: (value, body) => { body.keep_alive = value; },
  },
  {
    name: "gpu_layers", label: "GPU",
    choices: { "-1": "whole model", 0: "not used" },
    send: (value, body) => body["runtime-flags"].push("--n-gpu-layers", value),
  },
  {
    name: "parallel", label: "Answers at once",
    control: (id) => el("input", { id, type: "number", min: "1", max: "128", step: "1", placeholder: "not set" }),
    send: (value, body) => body["runtime-flags"].push("--parallel", value),
  },
];

/** Let the user change a model's settings; true when they were. */
export async function configure(name) {
  const rows = await askJson("GET", `/engines/settings/${encodeURIComponent(name)}`);
  const fields = SETTINGS.map((setting) => new Control(setting, rows.find((row) => row.name === setting.name)));
  const failed = el("p", { className: "failed", role: "alert" });
  const attempt = async (close, work) => {
    failed.textContent = "";
    try {
      await work();
      close(true);
    } catch (error) {
      failed.textContent = error.message;
    }
  };
  return open((close) => [
    el("form", { on: { submit: (event) => { event.preventDefault(); attempt(close, () => save(name, fields)); } } },
      el("h2", {}, `Settings of ${shortName(name)}`),
      el("p", { className: "faint" }, "Kept for this model, whoever asks it. A loaded model is loaded anew when nobody uses it."),
      el("div", { className: "fields" }, fields.map((one) => one.element)),
      failed,
      el("div", { className: "row end" },
        fields.some((one) => one.isKept) && button("Forget all", () => attempt(close, () => forget(name)), { className: "quiet" }),
        el("span", { className: "spring" }),
        button("Cancel", () => close(null)),
        el("button", { className: "primary" }, "Save"))),
  ], "middle").then(Boolean);
}

async function save(name, fields) {
  const body = { model: name, "runtime-flags": [], unset: [] };
  for (const one of fields) one.write(body);
  await ask("POST", "/engines/_configure", { body });
}

async function forget(name) {
  await ask("DELETE", `/engines/_configure?${new URLSearchParams({ model: name })}`);
}

/** One setting: empty where nobody wishes anything; what rules then is told below it. */
class Control {
  #setting;
  #input;
  #before;

  constructor(setting, row) {
    this.#setting = setting;
    this.isKept = KEPT.has(row?.origin);
    this.#before = this.isKept ? String(row.value) : "";
    const id = `set-${setting.name}`;
    this.#input = setting.control ? setting.control(id) : select({ id }, choices(setting.choices, this.#before));
    this.#input.value = this.#before;
    const now = row && `Now: ${setting.choices?.[row.value] ?? row.value.toLocaleString("en")} (${ORIGINS[row.origin] ?? row.origin})`;
    this.element = field(setting.label, this.#input, now ?? "Chosen when the model is loaded");
  }

  write(body) {
    const { value } = this.#input;
    if (value === this.#before) return;
    if (value === "") body.unset.push(this.#setting.name);
    else this.#setting.send(value, body);
  }
}

function choices(known, before) {
  const listed = before === "" || before in known ? known : { ...known, [before]: before };
  return [["", "not set"], ...Object.entries(listed)];
}
