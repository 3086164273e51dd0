"""Ours against llama-server of the same kernels, in turn, on the same machine in the same run.

Against its defaults, and against the flags that make it fastest here. All ratios say how many times
better ours is: tokens a second of ours over theirs, milliseconds of theirs over ours; the median
over the pairs, with their range. Both servers stay loaded; one computes while the other waits.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import copying, decode_depth, harness, memory, models, others, peers
from benchmarks.alone import Figures, Measure
from benchmarks.client import RequestFailed
from benchmarks.contest import BareEngine, Contest, Subject
from benchmarks.harness import Comparison
from benchmarks.rows import ROWS, Row, better, drawn, own, render
from benchmarks.servers import ServerFailed
from native.builder.ground import BuildError
from runner.errors import RunnerError

LIMIT_S = 1500.0
RIVALS: tuple[Subject, ...] = ("defaults", "best")


EXTRA = ("memory", "bare_engine", "copying", "step", "http_core", "command")
DEFAULT_ROWS = (
    "memory", "decode_depth", "bare_engine", "serving_8", "shared_prefix", "interference",
    "neighbour", "copying", "step", "http_core", "command",
)  # fmt: skip
IDLE_SHARE = 0.45
COPYING_GAIN, BARE_SHARE = 1.5, 0.97


class Table:
    """Collects the lines as rows are measured, and says how far it is."""

    def __init__(self, contest: Contest, *, pairs: int, limit_s: float, seed: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.samples: dict[str, Any] = {}
        self._contest, self._pairs, self._seed = contest, pairs, seed
        self._end_s = time.monotonic() + limit_s

    def measure(self, names: Sequence[str]) -> None:
        """Measure these rows; each gets its share of the time that is left."""
        rows = {row.name: row for row in ROWS}
        for number, name in enumerate(names):
            limit_s = (self._end_s - time.monotonic()) / (len(names) - number)
            begun_s = time.monotonic()
            match name:
                case "memory":
                    shape = memory.Shape(*self._contest.shape)
                    self.lines.append(others.resident_memory(self._contest.model, shape))
                case "command":
                    self.lines.append(others.command(self._pairs))
                case "step":
                    self.lines += others.python_share(self._contest.model)
                case "http_core":
                    self.lines += others.http_get(self._pairs)
                case "copying":
                    self._copying(limit_s)
                case "bare_engine":
                    self._bare_engine(limit_s)
                case _:
                    self._row(rows[name], limit_s)
            print(f"{name}: {time.monotonic() - begun_s:.0f} s", file=sys.stderr, flush=True)

    def _row(self, row: Row, limit_s: float) -> None:
        calls = {name: self._call(name, row.measure) for name in ("ours", *RIVALS)}
        if row.prepare:
            for call in calls.values():
                call()
        samples = harness.rounds(calls, count=self._pairs, limit_s=limit_s)
        self.samples[row.name] = samples
        for line in row.lines:
            ours, *theirs = ([each[line.key] for each in figures] for figures in samples.values())
            ratios = [better(line, ours, their) for their in theirs]
            self.lines.append(render(line.text, ours, theirs, ratios, line.targets))
        if row.name == "neighbour":
            share = Comparison(
                tuple(each["tok/s busy"] for each in samples["ours"]),
                tuple(each["tok/s idle"] for each in samples["ours"]),
            )
            self.lines.append(own("the same, share of our own idle speed", share, IDLE_SHARE))

    def _copying(self, limit_s: float) -> None:
        """Ours with and without guessing, and theirs with its own."""
        names: tuple[Subject, ...] = ("ours", "ours, plain", "best, guessing")

        def copies(subject: Subject) -> dict[str, copying.Copy]:
            return asyncio.run(copying.copies(self._contest.server(subject).target))

        calls = {name: partial(copies, name) for name in names}
        for call in calls.values():
            call()
        samples = harness.rounds(calls, count=self._pairs, limit_s=limit_s)
        rows = copying.compare(samples["ours"], samples["ours, plain"])
        self.samples["copying"] = rows
        print(harness.table(list(rows[0]), [list(row.values()) for row in rows]), flush=True)
        speeds = {name: [total_tokens_per_s(each) for each in samples[name]] for name in names}
        gain = Comparison(tuple(speeds["ours"]), tuple(speeds["ours, plain"]))
        same = all(row["identical"] == "yes" for row in rows)
        text = (
            f"copy-heavy text, tok/s against without guessing ({'' if same else 'NOT '}identical)"
        )
        self.lines.append(own(text, gain, COPYING_GAIN))
        theirs = Comparison(tuple(speeds["ours"]), tuple(speeds["best, guessing"]))
        self.lines.append(
            own("copy-heavy text, against llama-server guessing, tok/s", theirs, None)
        )

    def _bare_engine(self, limit_s: float) -> None:
        bare = BareEngine(self._contest.model)
        ours = self._call("ours", decode_depth.measure)
        ours()
        bare.tokens_per_s()
        both = harness.pairs(
            lambda: ours()["tok/s"], bare.tokens_per_s, count=self._pairs, limit_s=limit_s
        )
        text = "1 stream, decode after 600 tokens, against llama-bench's best, tok/s"
        self.lines.append(own(text, both, BARE_SHARE))

    def _call(self, subject: Subject, measure: Measure) -> Callable[[], Figures]:
        """A measurement of a server; the servers get the same new prompts in the same order."""
        seeds = numbered(self._seed)
        return lambda: asyncio.run(measure(self._contest.server(subject).target, next(seeds)))


def numbered(stem: str) -> Iterator[str]:
    """Endless seeds."""
    number = 0
    while True:
        yield f"{stem}/{number}"
        number += 1


def total_tokens_per_s(copies: dict[str, copying.Copy]) -> float:
    """Tasks weigh the same: the harmonic mean of their speeds."""
    return len(copies) / sum(1 / copy.tokens_per_s for copy in copies.values())


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    known = [*(row.name for row in ROWS), *EXTRA]
    parser = argparse.ArgumentParser(prog="python -m benchmarks peer", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one pair")
    parser.add_argument(
        "--rows", default=",".join(DEFAULT_ROWS), help=f"of {', '.join(known)}; or all"
    )
    parser.add_argument(
        "--model", default=models.EMBEDDED, help=f"a file, or one of {', '.join(models.NAMES)}"
    )
    parser.add_argument("--best", metavar="FLAGS", help="llama-server's best flags, unsearched")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for all rows")
    parser.add_argument("--anyway", action="store_true", help="even on a machine that is busy")
    parser.add_argument("--json", type=Path, help="result; a plot is written beside it")
    options = parser.parse_args(argv)
    options.names = known if options.rows == "all" else options.rows.split(",")
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no such row: {', '.join(unknown)}")
    return options


def main(argv: list[str]) -> int:
    """Run the contest; 1 when it could not be run."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended
    is_busy = harness.warn_if_busy()
    if is_busy and not options.anyway:
        print("error: not on a busy machine; --anyway measures all the same", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="runner-peer-") as folder:
            return _run(options, Path(folder), is_busy=is_busy)
    except (BuildError, RequestFailed, RunnerError, ServerFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, folder: Path, *, is_busy: bool) -> int:
    flags = None if options.best is None else shlex.split(options.best)
    with closing(Contest(models.find(options.model), folder, flags=flags)) as contest:
        for subject in ("ours", *RIVALS):
            contest.server(subject)
        table = Table(
            contest,
            pairs=1 if options.quick else options.pairs,
            limit_s=options.limit,
            seed=str(time.time_ns()),
        )
        try:
            table.measure(options.names)
        finally:
            if table.lines:  # what was measured until somebody pressed Ctrl-C is worth keeping
                _report(options, contest, table, is_busy=is_busy)
    return 0


def _report(options: argparse.Namespace, contest: Contest, table: Table, *, is_busy: bool) -> None:
    told = {
        "model": contest.model.name,
        "pairs": options.pairs,
        "was busy": is_busy,
        "ours": str(contest.server("ours").settings),
        "defaults": f"{peers.describe('defaults')}: {' '.join(contest.base_flags)}",
        "best": " ".join((*contest.base_flags, *contest.best_flags)),
        "samples": table.samples,
    }
    out = options.json or harness.LOCAL_RESULTS / "peer.json"
    harness.report("peer", told, table.lines, out)
    harness.write_plot(out.with_suffix(".svg"), drawn(table.lines))
