// Questions that need an answer first. The browser keeps focus inside and Escape says no.
import { button, el } from "./dom.js";

/** Ask whether to go on; true when the user says so. */
export function confirm(question, detail, verb) {
  return open((close) => [
    el("h2", {}, question),
    el("p", {}, detail),
    el("div", { className: "row end" },
      button("Cancel", () => close(false), { autofocus: true }),
      button(verb, () => close(true), { className: "danger" })),
  ]).then(Boolean);
}

/** Ask for an API key; null when the user gives none. */
export function askKey(why) {
  const input = el("input", { id: "key", type: "password", autocomplete: "off", required: true, autofocus: true });
  return open((close) => [
    el("form", { on: { submit: (event) => { event.preventDefault(); close(input.value.trim()); } } },
      el("h2", {}, "API key"),
      el("p", {}, why),
      el("label", { for: "key" }, "Key"), input,
      el("p", { className: "faint" }, "Kept for this tab only."),
      el("div", { className: "row end" },
        button("Cancel", () => close(null)),
        el("button", { className: "primary" }, "Use this key"))),
  ]);
}

/** Show long facts. */
export function tell(title, ...content) {
  return open((close) => [
    el("h2", {}, title), ...content,
    el("div", { className: "row end" }, button("Close", () => close(null), { autofocus: true })),
  ], "wide");
}

/** Show a dialog: `content(close)` gives its nodes, a `h2` among them; returns what it is closed with,
 *  null where the user leaves it. */
export function open(content, className = "") {
  return new Promise((resolve) => {
    const dialog = el("dialog", { className });
    let answer = null;
    const close = (value) => {
      answer = value;
      dialog.close(); // which gives the focus back
    };
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.append(...content(close));
    const title = dialog.querySelector("h2");
    title.id = "dialog-title";
    dialog.setAttribute("aria-labelledby", title.id);
    document.body.append(dialog);
    dialog.showModal();
    dialog.scrollTop = 0; // focus may be on a button at its end
  });
}
