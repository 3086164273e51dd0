"""Lines of the comparison that other benchmarks measure: memory, commands, Python's part."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness, http_core, memory, rows, startup, step

MOST_OF_BARE_PYTHON = 4.0  # what a command may take
STEP_TOKENS, STEP_US, STEP_SHARE = 128, 60.0, 0.03
REQUESTS, TIMES_UVICORN = 4000, 1.2


def resident_memory(model: Path, shape: memory.Shape) -> dict[str, Any]:
    """Both with as many cells and streams, after each stream was used; a file that none shares."""
    with tempfile.TemporaryDirectory(prefix="runner-memory-") as folder:
        copy = Path(shutil.copyfile(model, Path(folder, model.name)))
        row = memory.compare(copy, Path(folder), shape)
    text = f"resident memory, {shape.cells} cells, {shape.streams} streams used, MiB"
    return rows.told(
        text, ours=row["ours used MiB"], theirs=row["theirs "], ratio=row["ratio "], at_most=1.0
    )


def command(count: int) -> dict[str, Any]:
    """How long ``runner list`` takes, in times of Python that does nothing."""
    with tempfile.TemporaryDirectory(prefix="runner-startup-") as folder:
        row = startup.commands(Path(folder), count)
    return rows.told(
        "runner list, against python -c pass, s",
        ours=row["ours s"],
        theirs=row["other s"],
        ratio=row["ratio"],
        at_most=MOST_OF_BARE_PYTHON,
    ) | {"range": row["range"], "pairs": row["pairs"]}


def python_share(model: Path) -> list[dict[str, Any]]:
    """What the worker's Python costs a step of one stream: microseconds, share of the step."""
    row = step.row("real", 1, [step.real(model, 1, STEP_TOKENS, threads=None)])
    cost_us, share = row["CPU p50 us"], row["share %"] / 100
    return [
        rows.told("Python's CPU time a step, us", ours=cost_us, at_most=STEP_US),
        rows.told("the same, share of the step", ours=share, at_most=STEP_SHARE),
    ]


def http_get(count: int) -> list[dict[str, Any]]:
    """A keep-alive GET of a small JSON, in CPU time of the server; none without uvicorn."""
    if importlib.util.find_spec("uvicorn") is None:
        print("http_core: uvicorn is not installed; make bench installs it", file=sys.stderr)
        return []
    with http_core.serving({"uvicorn": sys.executable, "ours": sys.executable}) as servers:
        work = partial(http_core.get, count=REQUESTS, is_new=False)
        compared = http_core.compare(work, servers, count)
    text = "keep-alive GET of a small JSON, against uvicorn and httptools, us"
    line = rows.own(text, compared, TIMES_UVICORN)
    return [line | {"ours": harness.median(compared.b), "its defaults": harness.median(compared.a)}]
