"""When a model was last used: the time of its bundle's folder, set anew at each load."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from runner.oci import Digest
from runner.store.layout import Layout


def note_use(bundle: Path) -> None:
    """Remember that a model is used now. One system call; a disk that refuses it is no reason."""
    with suppress(OSError):
        os.utime(bundle)


def last_used_s(layout: Layout, model: Digest) -> float:
    """Return when a model was last used, or else stored, in seconds since 1970; 0: never."""
    times = [0.0]
    for path in (layout.bundle(model), layout.blob(model)):
        with suppress(FileNotFoundError):
            times.append(path.lstat().st_mtime)
    return max(times)
