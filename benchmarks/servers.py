"""Servers to measure, started here: ours and llama-server, each on a free port of loopback.

Each keeps its log in the folder it is given and is ended with its whole process group.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from benchmarks import machine, processes
from benchmarks.client import Target

START_S = 120.0
CALL_S = 600.0
POLL_S = 0.05
MODEL = "benchmark:latest"


class ServerFailed(Exception):
    """A server did not start, or did not load the model."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server with its model loaded."""

    name: str
    target: Target
    process: subprocess.Popen[bytes]
    log: Path
    settings: dict[str, Any]  # what it says of itself, as far as it does

    @property
    def resident_bytes(self) -> int:
        """Memory of all its processes."""
        return processes.resident_bytes(self.process.pid)

    @property
    def cpu_s(self) -> float:
        """CPU time of all its processes."""
        return processes.cpu_s(self.process.pid)


@dataclass(frozen=True, slots=True)
class Daemon:
    """Our daemon without a model loaded."""

    root: str  # URL
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def target(self) -> Target:
        """Where the model that ``add`` stores is asked."""
        return Target(f"{self.root}/engines/llama.cpp/v1", MODEL)

    def add(self, model: Path) -> None:
        """Store a model."""
        package = {"gguf": str(model.absolute()), "name": MODEL}
        answer = requests.post(f"{self.root}/models/package", json=package, timeout=CALL_S)
        if not answer.ok:
            raise ServerFailed(f"{model} was not added to the store: {answer.text[:500]}")

    def tune(self) -> None:
        """Have the best settings measured now, not in some idle moment; the next load has them."""
        body = {"model": MODEL}
        with requests.post(f"{self.root}/engines/tune", json=body, timeout=CALL_S) as answer:
            if not answer.ok:
                raise ServerFailed(f"nothing was tuned: {answer.text[:500]}")
        requests.post(f"{self.root}/engines/unload", json={"all": True}, timeout=CALL_S)


@contextlib.contextmanager
def daemon(
    folder: Path, *, name: str = "ours", settings: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """Start ``python -m runner serve`` with a store of its own in ``folder``.

    ``settings`` are variables of the environment, such as RUNNER_PARALLEL.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "HOME") if key in os.environ}
    home = {
        "MODELS_PATH": str(folder / "models"),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "RUNNER_KEEP_ALIVE": "-1",
    }
    command = [sys.executable, "-m", "runner", "serve", "--port", str(port), "--socket", "off"]
    root, log = f"http://127.0.0.1:{port}", folder / f"{name}.log"
    with _running(command, log, kept | home | dict(settings or {})) as process:
        _await(f"{root}/health", process, log)
        yield Daemon(root, process, log)


@contextlib.contextmanager
def ours(
    model: Path,
    folder: Path,
    *,
    name: str = "ours",
    settings: Mapping[str, str] | None = None,
    is_tuned: bool = False,
) -> Iterator[Server]:
    """Start our daemon, store the model, if wished find its best settings, and load it."""
    with daemon(folder, name=name, settings=settings) as started:
        started.add(model)
        if is_tuned:
            started.tune()
        ask_once(started.target)
        rows = requests.get(f"{started.root}/engines/ps", timeout=CALL_S).json()
        told = {key: rows[0].get(key) for key in ("settings", "system_info")}
        yield Server(name, started.target, started.process, started.log, told)


@contextlib.contextmanager
def llama_server(
    program: Path, model: Path, folder: Path, *, name: str, flags: Sequence[str]
) -> Iterator[Server]:
    """Start llama.cpp's server with the model and these flags."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(program), "-m", str(model), "--host", "127.0.0.1", "--port", str(port), *flags]
    log = folder / f"{name}.log"
    with _running(command, log, dict(os.environ)) as process:
        _await(f"http://127.0.0.1:{port}/health", process, log)
        target = Target(f"http://127.0.0.1:{port}/v1", MODEL)
        ask_once(target)
        yield Server(name, target, process, log, {"program": str(program), "flags": list(flags)})


def ask_once(target: Target) -> None:
    """Have the model loaded and warm."""
    body = {
        "model": target.model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 4,
    }
    answer = requests.post(f"{target.url}/chat/completions", json=body, timeout=CALL_S)
    if not answer.ok:
        raise ServerFailed(f"{target.url}: HTTP {answer.status_code}: {answer.text[:500]}")


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(
    command: Sequence[str], log: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=machine.ROOT, env=environment, stdin=subprocess.DEVNULL,
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        processes.stop(process)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(url, timeout=CALL_S).status_code == requests.codes.ok:
                return
        time.sleep(POLL_S)
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
    raise ServerFailed(f"{process.args!r} does not serve:\n" + "\n".join(tail))
