// Begins: one view at a time, by the address's fragment; what all views share is here.
import { hasKey, setKey } from "./api.js";
import { Chat } from "./chat.js";
import { askKey } from "./dialogs.js";
import { button } from "./dom.js";
import { Machine } from "./machine.js";
import { Models } from "./models.js";
import { refresh, state, subscribe } from "./state.js";

const content = document.getElementById("content");
const health = document.getElementById("health");
const chat = new Chat();
const models = new Models((model) => {
  chat.begin(model);
  location.hash = "#/chat";
});
const views = { chat, models, machine: new Machine() };
const enter = button("Enter key", () => { isAsking = false; askForKey(); }, { className: "quiet" });
let isAsking = false; // once: whoever cancels wants no key, or the button

function show() {
  if (location.hash === "#content" && content.hasChildNodes()) return; // the link past the bar
  const name = location.hash.replace(/^#\//, "");
  const view = views[name] ?? chat;
  content.replaceChildren(view.element);
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.hash === `#/${view === chat ? "chat" : name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view === chat ? "Chat \u2013 runner" : `${name[0].toUpperCase()}${name.slice(1)} \u2013 runner`;
  for (const one of Object.values(views)) one.seen?.(one === view);
}

function showHealth({ online, error, running }) {
  const words = error?.status === 401 ? "key needed"
    : !online ? (online === null ? "connecting" : "not reachable")
      : error ? "error" : running.length ? `${running.length} loaded` : "ready";
  health.dataset.state = online && !error ? "on" : "off";
  const shown = health.querySelector(".words");
  if (shown.textContent !== words) shown.textContent = words;
  shown.classList.toggle("hidden", error?.status === 401); // the button beside it says so
  health.title = error?.message ?? "";
}

/** Ask for a key when the server wants one, or another one when it refuses the one it got. */
async function askForKey() {
  enter.hidden = state.error?.status !== 401;
  if (enter.hidden || isAsking) return;
  isAsking = true;
  const key = await askKey(hasKey() ? "The server does not know this key. Try another one." : "This server needs an API key.");
  setKey(key);
  if (key) {
    isAsking = false;
    refresh();
  }
}

health.append(enter);
window.addEventListener("hashchange", show);
subscribe(showHealth);
subscribe(askForKey);
show();
refresh();
