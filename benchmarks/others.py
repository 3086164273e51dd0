"""Lines of the comparison that other benchmarks measure: memory, commands."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import memory, rows, startup

MOST_OF_BARE_PYTHON = 4.0  # what a command may take


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
