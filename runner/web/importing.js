// A GGUF file that lies on the server's machine becomes a model of the store.
import { el, field } from "./dom.js";

const LOOPBACK = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/; // others are refused files

/** The form; `onBegin(job)` is called with what is wanted. Null where the server would refuse it. */
export function importing(onBegin) {
  if (!LOOPBACK.test(location.hostname)) return null;
  const control = (id, properties) => el("input", { id, autocomplete: "off", spellcheck: false, autocapitalize: "none", ...properties });
  const path = control("import-path", { required: true, pattern: "(/|[A-Za-z]:).+", placeholder: "/home/me/model.gguf", title: "The whole path of a file" });
  const name = control("import-name", { required: true, placeholder: "local/model" });
  const projector = control("import-projector", { placeholder: "/home/me/mmproj.gguf", pattern: path.pattern, title: path.title });
  let suggested = "";
  path.addEventListener("change", () => {
    if (name.value !== suggested) return;
    suggested = suggestion(path.value);
    name.value = suggested;
  });
  const form = el("form", { on: { submit: (event) => {
    event.preventDefault();
    const body = { name: name.value.trim(), gguf: path.value.trim() };
    if (projector.value.trim()) body.mmproj = projector.value.trim();
    onBegin({ name: body.name, path: "/models/package", body });
    form.reset();
    suggested = "";
    whole.open = false;
  } } },
    el("div", { className: "fields" },
      field("Path of the GGUF file", path, "The first of its files, if it is split.", "whole"),
      field("Name", name), field("Path of its projector", projector, "Only for models that see or hear.")),
    el("div", { className: "row end" }, el("button", { className: "primary" }, "Import")));
  const whole = el("details", { className: "import" }, el("summary", {}, "Import a GGUF file of this machine"), form);
  return whole;
}

/** A name made of a file's: lower case, as references are. */
function suggestion(path) {
  const stem = path.trim().split(/[\\/]/).at(-1).replace(/\.gguf$/i, "").replace(/-\d{5}-of-\d{5}$/, "");
  const plain = stem.toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "");
  return plain && `local/${plain}`;
}
