"""The servers of a comparison, started when first asked for, all with the same model and context.

``ours``            as a user gets it, with the settings that it measured for this machine
``ours, plain``     the same without guessing tokens from the text
``defaults``        llama-server as it builds by default, with as much context as ours has
``best``            llama-server of our kernels with the flags that are fastest here
``best, guessing``  the same with its own prompt lookup
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from benchmarks import alone, decode_depth, machine, peers, servers, serving
from benchmarks.servers import Server

Subject = Literal["ours", "ours, plain", "defaults", "best", "best, guessing"]

# What llama-server's users turn to make it faster on a CPU. The build is ours: its kernels, and
# ggml's threads instead of OpenMP's, with and without spinning between two steps.
CANDIDATES: tuple[tuple[str, ...], ...] = (
    ("-fa", "off"),
    ("-fa", "off", "--poll", "0"),
    ("-fa", "off", "--kv-unified"),
    ("-fa", "on"),
)
GUESSING = ("--spec-type", "ngram-simple")
SCAN_STREAMS = 8
BENCH_S = 300.0


class Contest:
    """Starts each server once and keeps it; they compute one at a time, and idle ones wait."""

    def __init__(self, model: Path, folder: Path, *, flags: Sequence[str] | None = None) -> None:
        """``flags`` are llama-server's best ones; None looks for them among ``CANDIDATES``."""
        self.model, self.folder = model, folder
        self._best = None if flags is None else tuple(flags)
        self._running: dict[Subject, Server] = {}
        self._stack = contextlib.ExitStack()

    def close(self) -> None:
        """End the servers."""
        self._stack.close()

    def server(self, subject: Subject) -> Server:
        """Give the server, running and warm."""
        if subject not in self._running:
            self._running[subject] = self._stack.enter_context(self._start(subject))
            asyncio.run(alone.warm_up(self._running[subject].target))
        return self._running[subject]

    @property
    def base_flags(self) -> tuple[str, ...]:
        """What every llama-server gets: the cores, and our streams with our context each."""
        cells, streams = self.shape
        return ("-t", str(machine.cores()), "-np", str(streams), "-c", str(cells))

    @property
    def shape(self) -> tuple[int, int]:
        """Cells in all, and streams, that ours has chosen: enough for each one's whole context."""
        ours = self.server("ours").settings["settings"]
        return ours["parallel"] * ours["context_size"], ours["parallel"]

    @property
    def best_flags(self) -> tuple[str, ...]:
        """The candidate with the best product of one stream's speed at depth and eight streams'."""
        if self._best is None:
            scores = {flags: self._score(flags) for flags in CANDIDATES}
            self._best = max(scores, key=scores.__getitem__)
        return self._best

    def _start(self, subject: Subject) -> contextlib.AbstractContextManager[Server]:
        print(f"starting {subject}", file=sys.stderr, flush=True)
        match subject:
            case "ours":
                return servers.ours(self.model, self.folder / "ours", is_tuned=True)
            case "ours, plain":
                return servers.ours(
                    self.model, self.folder / "plain", name=subject, settings=self._plain
                )
            case "defaults":
                return self._theirs(subject, "defaults", ())
            case "best":
                return self._theirs(subject, "ours", self.best_flags)
            case "best, guessing":
                return self._theirs(subject, "ours", (*self.best_flags, *GUESSING))

    @property
    def _plain(self) -> dict[str, str]:
        """What ours has found best, as wishes: with another attention it may write another text."""
        ours = self.server("ours").settings["settings"]
        same = ("threads", "threads_batch", "ubatch_size", "kv_layout")
        wishes = {f"RUNNER_{name.upper()}": str(ours[name]) for name in same if ours[name]}
        attention = "on" if ours["flash_attention"] else "off"
        return wishes | {"RUNNER_FLASH_ATTENTION": attention, "RUNNER_SPECULATION": "off"}

    def _theirs(
        self, name: str, variant: peers.Variant, flags: Sequence[str]
    ) -> contextlib.AbstractContextManager[Server]:
        program = peers.binary("llama-server", variant)
        every = (*self.base_flags, *flags)
        return servers.llama_server(program, self.model, self.folder, name=name, flags=every)

    def _score(self, flags: tuple[str, ...]) -> float:
        """Measure one candidate shortly: tokens a second at depth times those of eight streams."""
        with self._theirs(f"candidate {' '.join(flags)}", "ours", flags) as server:
            asyncio.run(decode_depth.measure(server.target, "warm"))  # computes the prompt
            deep = asyncio.run(decode_depth.measure(server.target, "scan"))
            load = serving.Load(SCAN_STREAMS)
            wide = asyncio.run(serving.measure(server.target, "scan", load=load))
        found = f"{deep['tok/s']:.1f} and {wide['tok/s']:.1f} tok/s"
        print(f"llama-server {' '.join(flags)}: {found}", file=sys.stderr, flush=True)
        return deep["tok/s"] * wide["tok/s"]


class BareEngine:
    """llama-bench: generation at a depth without any server, the most these kernels can give."""

    def __init__(self, model: Path) -> None:
        self._command = [
            str(peers.binary("llama-bench")),
            "-m",
            str(model),
            "-p",
            "0",
            "-o",
            "json",
        ]
        self._command += ["-n", str(decode_depth.TOKENS), "-d", str(decode_depth.DEPTH), "-r", "1"]
        self._best: tuple[str, ...] | None = None

    def tokens_per_s(self) -> float:
        """Measure once, with the fastest of the settings that were tried at the first call."""
        if self._best is None:
            threads = sorted({1, machine.cores()})
            tried = [
                ("-fa", fa, "-t", str(t), "--poll", poll)
                for fa in ("0", "1")
                for t in threads
                for poll in ("0", "50")
            ]
            self._best = max(tried, key=self._run)
            print(f"llama-bench: best with {' '.join(self._best)}", file=sys.stderr, flush=True)
        return self._run(self._best)

    def _run(self, flags: Sequence[str]) -> float:
        done = subprocess.run(
            [*self._command, *flags], capture_output=True, text=True, timeout=BENCH_S, check=False
        )
        if done.returncode:
            return math.nan
        return float(json.loads(done.stdout)[0]["avg_ts"])
