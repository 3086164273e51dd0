"""Remembers where the store was moved to, for the next start.

Written before a move begins, with both places: whichever of them holds a store is the one. So a
crash at any moment of a move leaves one store to be found, and never two or none.
"""

from __future__ import annotations

import json
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.store.layout import FOLDER_MODE, Layout, write_whole

MAX_BYTES = 64 * 1024


def find_store(memory: Path, *, default: Path) -> Path:
    """Return the folder of the store: where it was moved to, else ``default``.

    Raises RunnerError(STORE) when the store was moved to a place that is away now: a new one at
    the default would hide it.
    """
    try:
        with memory.open("rb") as file:
            value = json.loads(file.read(MAX_BYTES))
        target, source = Path(value["path"]), Path(value["from"])
    except FileNotFoundError:
        return default
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunnerError(
            Kind.STORE,
            f"cannot read {memory}, which says where the models are",
            hint="name their folder with MODELS_PATH or --models-path, or delete the file",
        ) from error
    for place in (target, source):
        if Layout(place).marker.exists():
            return place
    raise RunnerError(
        Kind.STORE,
        f"the models were moved to {target}, and there is no store now",
        hint=f"mount its disk, name another folder with MODELS_PATH, or delete {memory}",
    )


def remember_store(memory: Path, *, target: Path, source: Path) -> None:
    """Write where the store is about to be moved, durably."""
    memory.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    write_whole(memory, json.dumps({"path": str(target), "from": str(source)}).encode())
