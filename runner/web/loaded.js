// What models in memory are doing, and what can be done with them.
import { askJson } from "./api.js";
import { button, el } from "./dom.js";
import { bytes, count, duration, shortName } from "./format.js";
import { notify, report } from "./notices.js";
import { configure } from "./settings.js";
import { refresh } from "./state.js";

/** Whether a model is loaded; `row` is of `/engines/ps`, undefined where it is not. */
export function badge(row) {
  if (!row) return el("span", { className: "badge" }, "not loaded");
  if (row.loading) return el("span", { className: "badge busy" }, `loading ${percent(row.fraction)}`);
  const state = row.requests ? `answering ${count(row.requests)}` : "loaded";
  return el("span", { className: "badge on" }, row.memory_bytes ? `${state} \u00b7 ${bytes(row.memory_bytes)}` : state);
}

export async function unload(name) {
  const { unloaded_runners: unloaded } = await askJson("POST", "/engines/unload", { body: { models: [name] } });
  notify(unloaded ? `${shortName(name)} is unloaded.` : `${shortName(name)} is answering and stays loaded.`);
  await refresh();
}

/** Let the user change a model's settings. */
export async function change(name) {
  if (!(await configure(name))) return;
  notify(`${shortName(name)} has new settings.`);
  await refresh();
}

/** A model in memory as a card of figures. */
export function loadedCard(row) {
  const name = row.tags[0] ?? row.model_name;
  const does = (label, action) => button(label, () => action(name).catch(report), {
    className: "quiet", "data-does": `${label} ${name}`, "aria-label": `${label} ${shortName(name)}`,
  });
  return el("article", { className: "card" },
    el("div", { className: "row wrap" }, el("h3", { className: "name" }, shortName(name)), badge(row),
      el("span", { className: "spring" }), does("Settings", change), does("Unload", unload)),
    row.loading
      ? el("progress", { max: 1, value: row.fraction, "aria-label": `Loading of ${shortName(name)}` })
      : [el("dl", { className: "figures" }, figures(row).map(figure)), el("p", { className: "facts" }, facts(row).join(" \u00b7 "))]);
}

function figures(row) {
  const told = [["Requests", row.requests ? count(row.requests) : "idle", row.waiting ? `${count(row.waiting)} wait` : "none wait"]];
  if (row.tokens_per_second) told.push(["Speed", `${row.tokens_per_second.toFixed(1)} tok/s`, row.requests ? "of all answers" : "when last asked"]);
  if (row.cells_total) told.push(["KV cache", percent(row.cells_used / row.cells_total), `${count(row.cells_used)} of ${count(row.cells_total)} cells`, row.cells_used / row.cells_total]);
  if (row.prompt_tokens) told.push(["Prompts from cache", percent(row.cached_tokens / row.prompt_tokens), `${count(row.cached_tokens)} of ${count(row.prompt_tokens)} tokens`, row.cached_tokens / row.prompt_tokens]);
  if (row.completion_tokens !== undefined) told.push(["Written", count(row.completion_tokens), "tokens so far"]);
  return told;
}

function figure([name, value, detail, share]) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, el("strong", {}, value), el("span", {}, detail),
    share !== undefined && el("progress", { max: 1, value: share, "aria-label": name })));
}

function facts(row) {
  return [
    ...(row.devices ?? []),
    row.threads && `${count(row.threads)} ${row.threads === 1 ? "thread" : "threads"}`,
    row.settings && `${count(row.settings.context_size)} tokens of context, ${count(row.settings.parallel)} at once`,
    row.expires_at ? `unloads in ${duration((new Date(row.expires_at) - Date.now()) / 1000)} unless it is used` : "stays loaded",
  ].filter(Boolean);
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}
