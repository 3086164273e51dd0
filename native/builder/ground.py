"""What every part of the build needs: its error, its folders, a way to ask another program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path


class BuildError(Exception):
    """One line of what went wrong, one of what to do, and the lines to read if there are any."""

    def __init__(self, message: str, hint: str = "", *, details: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.hint, self.details = hint, tuple(details)


def cache_dir() -> Path:
    """What can be made again: build directories."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runner"


def data_dir() -> Path:
    """What a placed library needs at run time: a fetched CUDA toolkit."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "runner"


def ask(
    command: Sequence[str | Path], *, timeout_s: float = 20.0
) -> subprocess.CompletedProcess[str]:
    """Ask a program something; one that is missing or hangs has failed."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, input=""
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def last_line(text: str) -> str:
    """The line of a failed program that usually tells why: its last, but pip warns after errors."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it gave no reason"])[-1]
