"""Control groups of Linux: which ones hold this process, and what memory they leave it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

UNLIMITED_BYTES = 1 << 60  # version 1 writes "no limit" as a number near 2**63


def own_groups(root: Path) -> Iterator[Path]:
    """Yield the folders of our control groups, each with its parents: any of them may limit.

    ``root`` is that of the file system. A folder need not be there: a container is told the
    machine's path where it has no namespace of its own, and has its group at the mount's root.
    Source: cgroups(7).
    """
    base = root / "sys/fs/cgroup"
    for line in read_lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        mount = base / controllers if controllers else base  # version 1 has a mount for each
        group = mount / path.lstrip("/")
        yield group
        yield from (parent for parent in group.parents if parent.is_relative_to(mount))


def memory_left(group: Path, dropped: Sequence[str]) -> int | None:
    """Count the bytes to the group's limit; None where it has none.

    ``dropped`` names what memory.stat of version 2 calls pages that count as free. Above
    ``memory.high`` a group is throttled until it has given memory back, so that limits, too.
    Sources: the kernel's cgroup-v2 and cgroup-v1/memory.
    """
    for limits, used_name, prefix in (
        (("memory.max", "memory.high"), "memory.current", ""),
        (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_"),
    ):
        read = [read_number(group / name) for name in limits]
        stated = [limit for limit in read if limit is not None and limit < UNLIMITED_BYTES]
        used = read_number(group / used_name)
        if stated and used is not None:
            stat = dict(line.split(maxsplit=1) for line in read_lines(group / "memory.stat"))
            return max(0, min(stated) - used + sum(int(stat.get(prefix + n, 0)) for n in dropped))
    return None


def read_number(path: Path) -> int | None:
    """Read a file of one number; None where it is not there or says something else, as max."""
    for line in read_lines(path):
        return int(line) if line.lstrip("-").isdigit() else None
    return None


def read_lines(path: Path) -> list[str]:
    """Read a file of the kernel's; none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
