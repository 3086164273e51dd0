// Short messages in a corner, read out by screen readers.
import { button, el } from "./dom.js";

const SHOWN_MS = 8000;

/** Say something; an error stays until it is dismissed. */
export function notify(text, { isError = false } = {}) {
  const notice = el("div", { className: isError ? "notice error" : "notice" }, el("p", {}, text));
  notice.append(button("\u00d7", () => notice.remove(), { className: "quiet", "aria-label": "Dismiss" }));
  document.getElementById("notices").append(notice);
  if (!isError) setTimeout(() => notice.remove(), SHOWN_MS);
}

/** Tell of a failure, unless it is that the user stopped it. */
export function report(error) {
  if (error.name !== "AbortError") notify(error.message, { isError: true });
}
