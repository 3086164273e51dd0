"""Whether a file is still the one that was read, told by its facts alone."""

from __future__ import annotations

import time
from pathlib import Path

Stamp = tuple[int, int, int]  # inode, bytes, time of the last change in ns

# A file changed twice within one tick of its clock may keep its stamp: FAT's ticks are the longest.
TICK_NS = 2_000_000_000


def stamp(path: Path) -> Stamp | None:
    """Return what every later change of the file changes too.

    None when there is no file, or it changed so recently that nothing vouches for it.
    """
    try:
        facts = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    if facts.st_mtime_ns > time.time_ns() - TICK_NS:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
