"""A cgroup of our own with little memory: who is put into it is killed by the kernel for more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

WHY_NOT = "needs root and a writable cgroup with the memory controller (a virtual machine has one)"

_TREE = Path("/sys/fs/cgroup")
# (where groups are made, the file that limits one): version 2, then version 1
_KINDS = ((_TREE, "memory.max"), (_TREE / "memory", "memory.limit_in_bytes"))


def is_possible() -> bool:
    """Whether such a group can be made here."""
    try:
        with memory_cgroup(1 << 30):
            return True
    except OSError:
        return False


@contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[Callable[[int], None]]:
    """Make a group; gives what moves a process into it: what it holds already is not counted.

    Raises OSError where no group can be made or limited.
    """
    tree, limit = next((kind for kind in _KINDS if (kind[0] / "cgroup.procs").exists()), _KINDS[0])
    group = tree / f"runner-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(str(limit_bytes))  # fails where there is no such controller
        yield lambda pid: _write(group / "cgroup.procs", pid)
    finally:
        group.rmdir()  # its processes have ended


def _write(path: Path, pid: int) -> None:
    path.write_text(str(pid))
