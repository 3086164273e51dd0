// Conversations, kept in this browser. A conversation is
// {id, title, model, system, temperature, maxTokens, changed, messages: [{role, content, reasoning, ...}]}.

const KEY = "runner.conversations";
const MAX_KEPT = 100;
const MAX_TITLE = 60;

/** All conversations, the last changed first. */
export function list() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.sort((one, other) => other.changed - one.changed) : [];
  } catch {
    return []; // written by something else
  }
}

/** A conversation not kept until it says something. */
export function fresh(model = "") {
  return {
    id: crypto.getRandomValues(new Uint32Array(2)).join("-"),
    title: "", model, system: "", temperature: "", maxTokens: "", changed: Date.now(), messages: [],
  };
}

/** Keep a conversation. When the browser's space is used up, the oldest ones go. */
export function keep(conversation) {
  conversation.changed = Date.now();
  const first = conversation.messages.find((message) => message.role === "user");
  conversation.title ||= (first?.content ?? "").trim().split("\n")[0].slice(0, MAX_TITLE);
  let all = [conversation, ...list().filter((one) => one.id !== conversation.id)].slice(0, MAX_KEPT);
  while (all.length > 0) {
    try {
      localStorage.setItem(KEY, JSON.stringify(all));
      return;
    } catch {
      all = all.slice(0, -1);
    }
  }
}

export function forget(id) {
  localStorage.setItem(KEY, JSON.stringify(list().filter((one) => one.id !== id)));
}
