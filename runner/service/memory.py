"""How much memory a new model may take, read from Linux; None where that cannot be told."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")  # version 2, as a container sees its own


def available_bytes(
    worker_pids: Iterable[int], *, proc: Path = PROC, cgroup: Path = CGROUP
) -> int | None:
    """Count free and reclaimable memory, less the model files that workers have mapped.

    The kernel calls mapped weights reclaimable; a worker that lost them would read them again
    from disk at every step.
    """
    machine = _field(proc / "meminfo", "MemAvailable:")
    if machine is None:
        return None
    container = _container_bytes(cgroup)
    free = machine * 1024 if container is None else min(machine * 1024, container)
    return max(0, free - sum(_mapped_bytes(proc, pid) for pid in worker_pids))


def _container_bytes(cgroup: Path) -> int | None:
    limit = _number(cgroup / "memory.max")  # "max": no limit
    used = _number(cgroup / "memory.current")
    if limit is None or used is None:
        return None
    return limit - used + (_field(cgroup / "memory.stat", "file") or 0)


def _mapped_bytes(proc: Path, pid: int) -> int:
    fields = _read(proc / str(pid) / "statm").split()  # proc(5): size resident shared ...
    return int(fields[2]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 2 else 0


def _field(path: Path, name: str) -> int | None:
    """The number after ``name`` in a file of lines like ``name number …``."""
    for line in _read(path).splitlines():
        first, _, rest = line.partition(" ")
        if first == name:
            return int(rest.split()[0])
    return None


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
