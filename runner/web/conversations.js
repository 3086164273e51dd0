// Conversations, kept in this browser, each under a key of its own. A conversation is
// {id, title, model, settings, changed, messages: [{role, content, images, reasoning, ...}]}.

const PREFIX = "runner.conversation.";
const MAX_KEPT = 100;
const MAX_TITLE = 60;

/** All conversations, the last changed first. */
export function list() {
  const kept = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)).map(read);
  return kept.filter(Boolean).sort((one, other) => other.changed - one.changed);
}

/** A conversation not kept until it says something. */
export function fresh(model = "") {
  const id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  return { id, title: "", model, settings: {}, changed: Date.now(), messages: [] };
}

/** Keep a conversation. When the browser's space is used up, older ones lose their pictures, then go. */
export function keep(conversation) {
  conversation.changed = Date.now();
  const first = conversation.messages.find((message) => message.role === "user");
  conversation.title ||= first?.content.trim().split("\n")[0].slice(0, MAX_TITLE) || (first ? "Picture" : "");
  while (!written(conversation)) {
    const others = list().filter((one) => one.id !== conversation.id);
    if (!others.length) return; // larger than all there is
    const withPictures = others.filter((one) => one.messages.some((message) => message.images?.length));
    if (withPictures.length) written(withoutPictures(withPictures.at(-1)));
    else forget(others.at(-1).id);
  }
}

/** Keep what became of a conversation, unless it was deleted meanwhile, here or in another tab. */
export function update(conversation) {
  if (localStorage.getItem(PREFIX + conversation.id) !== null) keep(conversation);
}

/** Let the oldest go where there are more than anybody looks through. */
export function tidy() {
  for (const one of list().slice(MAX_KEPT)) forget(one.id);
}

export function forget(id) {
  localStorage.removeItem(PREFIX + id);
}

function read(key) {
  try {
    const kept = JSON.parse(localStorage.getItem(key));
    return Array.isArray(kept?.messages) ? { settings: {}, ...kept } : null;
  } catch {
    return null; // written by something else
  }
}

function written(conversation) {
  try {
    localStorage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
    return true;
  } catch {
    return false;
  }
}

function withoutPictures(conversation) {
  return { ...conversation, messages: conversation.messages.map(({ images, ...rest }) => rest) };
}
