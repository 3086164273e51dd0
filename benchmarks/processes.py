"""Processes of a measurement: memory and CPU time of a tree, how one ends, one that keeps busy."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

STOP_S = 15.0
SPIN = "import time; end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"


def tree(pid: int) -> list[int]:
    """The process and all its descendants that live, from /proc."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # proc(5): pid (name) state ppid; the name may hold blanks and brackets.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def resident_bytes(pid: int) -> int:
    """Resident memory of a process tree; a page that several of it share counts once (PSS)."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii")
            line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
            total += int(line.split()[1]) << 10
    return total


def cpu_s(pid: int) -> float:
    """CPU time that a process tree has taken."""
    ticks = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{one}/stat").read_text(encoding="utf-8", errors="replace")
            user, system = stat.rpartition(")")[2].split()[11:13]
            ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group of its own: ask it, wait, then kill the group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def busy_process(limit_s: float) -> Iterator[None]:
    """Keep one core busy, as a compiler or a browser would; ends by itself after ``limit_s``."""
    command = [sys.executable, "-S", "-c", SPIN.format(seconds=limit_s)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()
