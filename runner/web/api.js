// The one place that asks the server. Errors come out as the API says them, with their remedy.

const KEY = "runner.key"; // of sessionStorage: kept for this tab, gone with it

/** What the server refused, or that it cannot be reached (`status` 0). */
export class ApiError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export function setKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Ask, and return the answer when it is a success. Aborting raises the signal's AbortError. */
export async function ask(method, path, { body, signal, headers: more } = {}) {
  const headers = { Accept: "application/json", ...more };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

/** Ask for JSON. */
export async function askJson(method, path, options) {
  return (await ask(method, path, options)).json();
}

function unreachable() {
  return new ApiError("The server does not answer. If it is not running, start it with: runner serve");
}

async function refusal(answer) {
  let told = {};
  try {
    told = (await answer.json()).error ?? {};
  } catch { /* not ours: a proxy's page */ }
  return new ApiError(told.message ?? `The server answered ${answer.status}.`, answer.status);
}

/** Read a body line by line as it comes. */
export async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const complete = (rest + value).split("\n");
      rest = complete.pop();
      yield* complete;
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (rest) yield rest;
}

/** Read a stream of JSON lines. */
export async function* jsonLines(answer) {
  for await (const line of lines(answer)) {
    if (line.trim()) yield JSON.parse(line);
  }
}

/** Read Server-Sent Events: {event, data}, each with one line of data, as our server writes them. */
export async function* serverEvents(answer) {
  let event = "message";
  for await (const line of lines(answer)) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    if (line.startsWith("data:")) yield { event, data: line.slice(5).trim() };
    if (!line) event = "message";
  }
}

/** Read the events of an OpenAI stream up to `[DONE]`; an error among them is raised. */
export async function* events(answer) {
  for await (const { data } of serverEvents(answer)) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(event.error.message, 500);
    yield event;
  }
  throw new ApiError("The answer broke off: the server may have been stopped. Try again.");
}
