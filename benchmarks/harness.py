"""What every benchmark shares: turns, statistics, the table, the JSON result.

Figures of two runs cannot be compared: machines differ, and neighbours come and go. So what is to
be compared is measured in turn, A B B A A B, and each pair gives a ratio of its own; the median
of these ratios is the result, and their range tells what it is worth.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import machine

T = TypeVar("T")
K = TypeVar("K", bound=str)

LOCAL_RESULTS = machine.ROOT / "benchmarks" / "results" / "local"  # not kept by git


@dataclass(frozen=True, slots=True)
class Comparison:
    """A and B measured in turn: figure ``i`` of both belongs to pair ``i``."""

    a: tuple[float, ...]
    b: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """A over B, pair by pair."""
        return [a / b if b else float("nan") for a, b in zip(self.a, self.b, strict=True)]

    @property
    def ratio(self) -> float:
        """The middle one of the pairs' ratios."""
        return median(self.ratios)

    @property
    def spread(self) -> str:
        """The least and the greatest ratio, as ``1.02..1.10``."""
        return f"{cell(min(self.ratios))}..{cell(max(self.ratios))}"

    def row(self, a: str, b: str) -> dict[str, Any]:
        """Columns of a table: both medians under their names, the ratio, its range, the count."""
        return {
            a: median(self.a),
            b: median(self.b),
            "ratio": self.ratio,
            "range": self.spread,
            "pairs": len(self.a),
        }


def rounds(
    subjects: Mapping[K, Callable[[], T]],
    *,
    count: int,
    limit_s: float = float("inf"),
    clock: Callable[[], float] = time.monotonic,
) -> dict[K, list[T]]:
    """Measure the subjects in turn, ``count`` times; every other round in reverse order.

    No round begins that would, going by the longest one so far, end after ``limit_s``; the first
    always runs. The caller warms up.
    """
    results: dict[K, list[T]] = {name: [] for name in subjects}
    begun, longest = clock(), 0.0
    for number in range(count):
        before = clock()
        if number and before + longest > begun + limit_s:
            break
        for name in list(subjects)[:: -1 if number % 2 else 1]:
            results[name].append(subjects[name]())
        longest = max(longest, clock() - before)
    return results


def pairs(
    a: Callable[[], float],
    b: Callable[[], float],
    *,
    count: int,
    limit_s: float = float("inf"),
) -> Comparison:
    """Measure A and B in turn: A B, B A, A B; at least one pair, and none after ``limit_s``."""
    results = rounds({"a": a, "b": b}, count=count, limit_s=limit_s)
    return Comparison(tuple(results["a"]), tuple(results["b"]))


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which ``share`` (0..1) of them lie, nearest rank; NaN when there is none."""
    if not samples:
        return float("nan")
    ranked = sorted(samples)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def median(samples: Sequence[float]) -> float:
    """The middle sample; NaN when there is none."""
    return statistics.median(samples) if samples else float("nan")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as their widest cell, numbers to the right; Markdown, so it can be kept."""
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(header)]
    lines = [_line(header, widths), "|" + "|".join(f"{'-' * (w + 1)}:" for w in widths) + "|"]
    return "\n".join([*lines, *(_line(row, widths) for row in cells)])


def cell(value: object) -> str:
    """Write a value for a table: numbers with about three digits that mean something."""
    if not isinstance(value, float):
        return str(value)
    if value != value:
        return "-"
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 4}f}"


def report(
    name: str, options: dict[str, Any], rows: list[dict[str, Any]], out: Path | None
) -> None:
    """Print the table on stdout; write the JSON result to ``out``, else below results/local/."""
    result = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.facts(),
        "options": {key: _plain(value) for key, value in options.items()},
        "rows": rows,
    }
    header = list(rows[0])
    print(table(header, [list(row.values()) for row in rows]), flush=True)
    path = out or LOCAL_RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written: {path}", file=sys.stderr)


def write_plot(path: Path, document: str) -> None:
    """Write what ``plot.bars`` or ``plot.lines`` drew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document, encoding="utf-8")
    print(f"written: {path}", file=sys.stderr)


def warn_if_busy() -> bool:
    """Look whether others use the machine; say so on stderr, since ratios suffer too."""
    share = machine.busy_share()
    if share is None or share < machine.BUSY:
        return False
    print(
        f"warning: {share:.0%} of this machine is in use by others;"
        " the ratios below are worth what their range says",
        file=sys.stderr,
    )
    return True


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(text.rjust(w) for text, w in zip(row, widths, strict=True)) + " |"
