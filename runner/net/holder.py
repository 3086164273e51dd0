"""Which program holds a port, as far as the system tells: it is said with "already in use"."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_LISTEN = "0A"  # TCP_LISTEN, as /proc/net/tcp writes states
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


class Holder(NamedTuple):
    """A process that listens."""

    pid: int
    program: str


def find_holder(port: int) -> Holder | None:
    """Find who listens on a TCP port; None where it cannot be told (other users', no Linux)."""
    inodes: set[str] = set()
    for table in _TABLES:
        try:
            inodes |= listening_inodes(Path(table).read_text().splitlines(), port)
        except OSError:
            continue
    return _find_process({f"socket:[{inode}]" for inode in inodes}) if inodes else None


def listening_inodes(lines: Iterable[str], port: int) -> set[str]:
    """Return the inodes of the sockets that listen on ``port``, of a table of the kernel's."""
    rows = (line.split() for line in lines)
    return {
        row[9]
        for row in rows
        if len(row) > 9 and row[3] == _LISTEN and row[1].endswith(f":{port:04X}")
    }


def _find_process(links: set[str]) -> Holder | None:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(each.readlink()) in links for each in (process / "fd").iterdir()):
                return Holder(int(process.name), (process / "comm").read_text().strip())
        except OSError:  # another user's, or over meanwhile
            continue
    return None
