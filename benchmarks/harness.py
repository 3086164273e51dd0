"""What every benchmark shares: the machine's facts, statistics, the table and the JSON result."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def machine() -> dict[str, Any]:
    """Facts without which a figure means nothing."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
        "library": _library(),
    }


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which ``share`` (0..1) of them lie, nearest rank; NaN when there is none."""
    if not samples:
        return float("nan")
    ranked = sorted(samples)
    return ranked[min(len(ranked) - 1, max(0, round(share * len(ranked) + 0.5) - 1))]


def median(samples: Sequence[float]) -> float:
    """The middle sample; NaN when there is none."""
    return statistics.median(samples) if samples else float("nan")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as their widest cell, numbers to the right; Markdown, so it can be kept."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(header)]
    lines = [_line(header, widths), "|" + "|".join(f"{'-' * (w + 1)}:" for w in widths) + "|"]
    return "\n".join([*lines, *(_line(row, widths) for row in cells)])


def report(
    name: str, options: dict[str, Any], rows: list[dict[str, Any]], out: Path | None
) -> None:
    """Print the table on stdout; write the JSON result to ``out`` when one is asked for."""
    result = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "options": options,
        "rows": rows,
    }
    header = list(rows[0])
    print(table(header, [list(row.values()) for row in rows]))
    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written: {out}", file=sys.stderr)


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) + " |"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "?")


def _commit() -> str:
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout.strip() or "unknown"


def _library() -> dict[str, Any]:
    path = ROOT / "runner" / "binding" / "build.json"
    try:
        build = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: build[key] for key in ("backend", "compiler", "cpu_features") if key in build}
