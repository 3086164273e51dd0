"""What a figure depends on besides the code: the machine, how busy it is, the commit, the build."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUSY = 0.15  # share of all cores in use by others from which on figures cannot be trusted
LOOK_S = 1.0


def facts() -> dict[str, Any]:
    """Facts without which a figure means nothing."""
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "load_1min": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
        "library": build_record(),
    }


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_share(look_s: float = LOOK_S) -> float | None:
    """Share 0..1 of all cores that was in use, or stolen by other virtual machines, for ``look_s``.

    Unlike the load average it forgets the benchmark that ended a moment ago. None: not on Linux.
    """
    before = _cpu_ticks()
    if before is None:
        return None
    time.sleep(look_s)
    after = _cpu_ticks()
    assert after is not None
    total = sum(after) - sum(before)
    idle = sum(after[3:5]) - sum(before[3:5])  # idle and iowait, proc(5)
    return 1 - idle / total if total else 0.0


def build_record() -> dict[str, Any]:
    """What build_native.py left beside the library, as far as it bears on speed."""
    path = ROOT / "runner" / "binding" / "build.json"
    try:
        build = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = ("backend", "cpu", "compiler", "cpu_features", "options")
    return {name: build[name] for name in names if name in build}


def _cpu_ticks() -> list[int] | None:
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    return [int(word) for word in first.split()[1:9]]  # the rest repeats guests' time


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "?")


def _commit() -> str:
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout.strip() or "unknown"
