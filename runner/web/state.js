// What the server has and does, asked again and again while the page is seen.
import { ApiError, askJson } from "./api.js";

const PERIOD_MS = 5000;
const LOADING_PERIOD_MS = 500; // so that progress moves
const listeners = new Set();
const abilities = new Map(); // by id and time of creation: a name may become another model's
let timer = 0;

/** `online` is null until the first answer; `error` is the last refusal, null when there is none. */
export const state = { online: null, models: [], running: [], error: null };

/** Call now and after every change. */
export function subscribe(listener) {
  listeners.add(listener);
  listener(state);
}

/** Ask now, then again after a while. */
export async function refresh() {
  clearTimeout(timer);
  try {
    const [models, running] = await Promise.all([
      askJson("GET", "/v1/models"), askJson("GET", "/engines/ps"),
    ]);
    Object.assign(state, { online: true, models: models.data, running, error: null });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    Object.assign(state, { online: error.status !== 0, error });
  } finally {
    for (const listener of listeners) listener(state);
    const isLoading = state.running.some((row) => row.loading);
    learn();
    if (!document.hidden) timer = setTimeout(refresh, isLoading ? LOADING_PERIOD_MS : PERIOD_MS);
  }
}

/** The row of `/engines/ps` of a model, by any of its names. */
export function runningRow(name) {
  return state.running.find((row) => row.model_name === name || row.tags.includes(name));
}

/** What a model can do, in the words of `/api/show`: "completion", "embedding", "vision", "tools",
 *  "thinking"; null while it is not known. */
export function abilitiesOf(name) {
  const model = state.models.find((one) => one.id === name);
  return (model && abilities.get(versionOf(model))) ?? null;
}

/** Ask once of each model. */
async function learn() {
  for (const model of state.models) {
    if (abilities.has(versionOf(model))) continue;
    abilities.set(versionOf(model), null);
    try {
      const { capabilities } = await askJson("POST", "/api/show", { body: { model: model.id } });
      abilities.set(versionOf(model), capabilities);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 0 && error.status !== 401) continue; // it would be refused again
      abilities.delete(versionOf(model)); // asked again with the next refresh
      return;
    }
    for (const listener of listeners) listener(state);
  }
}

function versionOf(model) {
  return `${model.id} ${model.created}`;
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
