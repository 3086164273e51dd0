// One answer of a model: asks, and tells what came so far. Knows nothing of the page.
import { ask, events } from "./api.js";
import { fieldsOf } from "./sampling.js";

/** Ask a conversation's model to answer; `onChange(answer)` is called with every piece.
 *  `answer` is the message that is filled: {content, reasoning, calls, usage, timings, cut}. */
export async function stream(conversation, answer, { signal, onChange }) {
  const body = {
    model: conversation.model,
    messages: history(conversation, answer),
    stream: true,
    stream_options: { include_usage: true },
    ...fieldsOf(conversation.settings),
  };
  const reply = await ask("POST", "/v1/chat/completions", { body, signal });
  for await (const event of events(reply)) {
    take(event, answer);
    onChange(answer);
  }
}

/** What was said. Questions without an answer are one with the next: many templates want turns. */
function history(conversation, answer) {
  const said = [];
  for (const message of conversation.messages) {
    const { role, content, images = [] } = message;
    if (message === answer || (!content && role !== "user")) continue;
    const last = said.at(-1);
    if (last?.role !== role) said.push({ role, content, images });
    else Object.assign(last, { content: [last.content, content].filter(Boolean).join("\n\n"), images: [...last.images, ...images] });
  }
  const { system } = conversation.settings;
  const begin = system ? [{ role: "system", content: system }] : [];
  return [...begin, ...said.map(({ role, content, images }) => ({ role, content: images.length ? parts(content, images) : content }))];
}

function parts(content, images) {
  const shown = images.map((url) => ({ type: "image_url", image_url: { url } }));
  return content ? [...shown, { type: "text", text: content }] : shown;
}

function take(event, answer) {
  const [choice] = event.choices;
  const delta = choice?.delta ?? {};
  answer.content += delta.content ?? "";
  answer.reasoning += delta.reasoning_content ?? "";
  for (const call of delta.tool_calls ?? []) {
    answer.calls[call.index] ??= { name: "", arguments: "" };
    answer.calls[call.index].name += call.function?.name ?? "";
    answer.calls[call.index].arguments += call.function?.arguments ?? "";
  }
  if (choice?.finish_reason === "length") answer.cut = true;
  if (event.timings) answer.tokensPerSecond = event.timings.predicted_per_second;
  if (event.usage) {
    answer.tokens = event.usage.completion_tokens;
    answer.cached = event.usage.prompt_tokens_details?.cached_tokens ?? 0;
    answer.prompt = event.usage.prompt_tokens;
  }
}
