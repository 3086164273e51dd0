"""How much memory a new model may take, read from Linux; None where that cannot be told."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from runner.cgroups import memory_left, own_groups, read_lines

# The files in memory, which can be read again; "file" would count tmpfs, which cannot.
_DROPPED = ("active_file", "inactive_file")


def available_bytes(worker_pids: Iterable[int], *, root: Path = Path("/")) -> int | None:
    """Count free and reclaimable memory, less the model files that workers have mapped.

    The narrowest of this process's control groups counts. The kernel calls mapped weights
    reclaimable; a worker that lost them would read them again from disk at every step.
    """
    machine_kib = _field(root / "proc/meminfo", "MemAvailable:")
    if machine_kib is None:
        return None
    groups = (memory_left(group, _DROPPED) for group in own_groups(root))
    free = min([machine_kib * 1024, *(left for left in groups if left is not None)])
    return max(0, free - sum(_mapped_bytes(root, pid) for pid in worker_pids))


def _mapped_bytes(root: Path, pid: int) -> int:
    lines = read_lines(root / "proc" / str(pid) / "statm")  # proc(5): size resident shared ...
    return int(lines[0].split()[2]) * os.sysconf("SC_PAGE_SIZE") if lines else 0


def _field(path: Path, name: str) -> int | None:
    """The number after ``name`` in a file of lines like ``name number …``."""
    for line in read_lines(path):
        first, _, rest = line.partition(" ")
        if first == name:
            return int(rest.split()[0])
    return None
