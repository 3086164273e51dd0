"""A daemon that plays parts: enough of the HTTP API for the CLI, without a model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

MODEL = {
    "id": "sha256:" + "a" * 64,
    "tags": ["docker.io/ai/parrot:latest"],
    "created": 1_700_000_000,
    "config": {"parameters": "1", "size": "1KiB"},
}
GETS: dict[str, Any] = {
    "/readyz": {"status": "ok"},
    "/models": [MODEL],
    "/models/parrot": MODEL,
    "/engines/ps": [],
    "/engines/status": {"llama.cpp": "Running: scripted"},
    "/version": {"version": "9.9"},
}


class ScriptedDaemon:
    """Serves on a free port of loopback while the context lasts.

    A chat answers ``echo: PROMPT``; the prompt ``forever`` streams until the client leaves, which
    sets ``left``; the prompt ``break`` ends in an error event.
    """

    def __init__(self) -> None:
        self.chats: list[dict[str, Any]] = []
        self.left = threading.Event()
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = GETS.get(self.path)
                self._reply(200 if answer is not None else 404, answer)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/models/create":
                    self._reply(404, None)
                    return
                if self.headers.get("X-Preload-Only"):
                    self._reply(200, None)
                    return
                daemon.chats.append(body)
                self.send_response(200)
                self.end_headers()
                try:
                    for data in daemon.play(body["messages"][-1]["content"]):
                        self.wfile.write(b"data: " + data + b"\n\n")
                        self.wfile.flush()
                except (BrokenPipeError, ConnectionResetError):
                    daemon.left.set()

            def _reply(self, status: int, answer: Any) -> None:
                self.send_response(status)
                self.end_headers()
                error = {"error": {"message": "no such model", "code": "model_not_found"}}
                if answer is not None or status == 404:
                    self.wfile.write(json.dumps(error if status == 404 else answer).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def play(self, prompt: str) -> Iterator[bytes]:
        if prompt == "break":
            yield _delta("one ")
            yield b'{"error": {"message": "the engine died", "code": "engine_crashed"}}'
            return
        if prompt == "forever":
            for _ in range(1000):
                yield _delta("tick ")
                time.sleep(0.01)
        for word in f"echo: {prompt}".split(" "):
            yield _delta(f"{word} ")
        yield json.dumps({"choices": [], "usage": {"completion_tokens": 2}}).encode()
        yield b"[DONE]"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _delta(text: str) -> bytes:
    return json.dumps({"choices": [{"delta": {"content": text}}]}).encode()
