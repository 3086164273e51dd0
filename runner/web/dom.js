// Builds nodes. Text only ever becomes text: nothing in this page parses HTML.

/** Make an element. Properties: `on` holds listeners, `data-*`, `aria-*` and `role` are attributes,
 *  the rest are set as properties. Children are nodes or strings; null, false and "" are left out. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name.includes("-") || name === "role" || name === "for") {
      node.setAttribute(name, value);
    } else {
      node[name] = value;
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined && child !== ""));
  return node;
}

/** A button that is no form's. */
export function button(label, onClick, properties = {}) {
  return el("button", { type: "button", ...properties, on: { click: onClick } }, label);
}

/** A control under its label, with what there is to know of it. */
export function field(label, control, hint = "", className = "") {
  const told = hint && el("p", { id: `${control.id}-hint`, className: "faint" }, hint);
  if (told) control.setAttribute("aria-describedby", told.id);
  return el("div", { className }, el("label", { for: control.id }, label), control, told || null);
}

/** A choice of one of some; `options` holds [value, label]. */
export function select(properties, options) {
  return el("select", properties, options.map(([value, label]) => el("option", { value }, label)));
}

/** Put other nodes in a place; what has the keyboard's focus keeps it, if it has a `data-does`.
 *  Not while something there is pressed, whose click would be lost: false then. */
export function redraw(place, nodes) {
  if (place.matches(":active")) return false;
  const focused = place.contains(document.activeElement) && document.activeElement.dataset.does;
  place.replaceChildren(...nodes);
  if (focused) place.querySelector(`[data-does="${CSS.escape(focused)}"]`)?.focus();
  return true;
}

/** Copy text, and say so on the button for a moment. */
export async function copy(text, pressed) {
  const label = (pressed.dataset.label ??= pressed.textContent);
  try {
    await navigator.clipboard.writeText(text);
    pressed.textContent = "Copied";
  } catch {
    pressed.textContent = "Not allowed"; // pages under a plain http:// name other than localhost
  }
  setTimeout(() => { pressed.textContent = label; }, 1500);
}
