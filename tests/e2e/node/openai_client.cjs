// What OpenAI's own package for Node sees of a server: node openai_client.cjs BASE_URL MODEL prints one JSON object.
"use strict";

const { OpenAI, BadRequestError, NotFoundError } = require("openai");

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "any", maxRetries: 0, timeout: 120_000 });
const messages = [{ role: "user", content: "What is the capital of France? Answer in one short sentence." }];
const greedy = { model, max_tokens: 24, temperature: 0 };
const city = {
  type: "object",
  properties: { city: { type: "string", maxLength: 20 } },
  required: ["city"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "weather", parameters: city, strict: true } }];

async function whole() {
  const answer = await client.chat.completions.create({ ...greedy, messages });
  return { text: answer.choices[0].message.content, promptTokens: answer.usage.prompt_tokens };
}

async function streamed() {
  const options = { stream: true, stream_options: { include_usage: true } };
  const stream = await client.chat.completions.create({ ...greedy, messages, ...options });
  let text = "";
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  return { text, promptTokens: usage.prompt_tokens };
}

// The package folds the chunks itself, and complains of those that do not fit together.
async function folded() {
  const stream = client.chat.completions.stream({ ...greedy, messages });
  const kinds = new Set();
  stream.on("content.delta", () => kinds.add("content.delta"));
  stream.on("content.done", () => kinds.add("content.done"));
  const answer = await stream.finalChatCompletion();
  const { message, finish_reason: reason } = answer.choices[0];
  return { text: message.content, reason, kinds: [...kinds].sort() };
}

async function structured() {
  const format = { type: "json_schema", json_schema: { name: "city", strict: true, schema: city } };
  const answer = await client.chat.completions.create({ ...greedy, messages, max_tokens: 100, response_format: format });
  return JSON.parse(answer.choices[0].message.content);
}

async function toolLoop() {
  const asked = { ...greedy, max_tokens: 100, tools };
  const named = { type: "function", function: { name: "weather" } };
  const first = await client.chat.completions.stream({ ...asked, messages, tool_choice: named }).finalChatCompletion();
  const [call] = first.choices[0].message.tool_calls;
  const result = { role: "tool", tool_call_id: call.id, content: "22 degrees, sunny" };
  const turns = [...messages, first.choices[0].message, result];
  const second = await client.chat.completions.create({ ...asked, messages: turns, tool_choice: "none", max_tokens: 8 });
  return {
    reason: first.choices[0].finish_reason,
    name: call.function.name,
    arguments: JSON.parse(call.function.arguments),
    text: second.choices[0].message.content,
  };
}

async function completion() {
  const answer = await client.completions.create({ ...greedy, prompt: "Once upon a time", max_tokens: 4 });
  return answer.choices[0];
}

async function models() {
  const ids = [];
  for await (const one of client.models.list()) ids.push(one.id);
  const one = await client.models.retrieve(ids[0]);
  return { ids, retrieved: one.id };
}

async function aborted() {
  const endless = { ...greedy, max_tokens: 900, ignore_eos: true };
  const stream = await client.chat.completions.create({ ...endless, messages, stream: true });
  for await (const _ of stream) break; // leaving the loop aborts the request
  return stream.controller.signal.aborted;
}

async function refusals() {
  const told = [];
  for (const wrong of [{ top_p: 2 }, { model: "ai/no-such-model" }]) {
    try {
      await client.chat.completions.create({ ...greedy, messages, ...wrong });
    } catch (error) {
      const kind = error instanceof BadRequestError ? "bad" : error instanceof NotFoundError ? "missing" : "other";
      told.push({ kind, status: error.status, code: error.code, param: error.param });
    }
  }
  return told;
}

async function main() {
  const told = {};
  for (const step of [whole, streamed, folded, structured, toolLoop, completion, models, aborted, refusals]) {
    told[step.name] = await step();
  }
  process.stdout.write(JSON.stringify(told));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
