"""Tell how a build goes: a line a step, live on a terminal; run programs into a log."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from native.builder.ground import BuildError

TAIL_LINES = 30


class Step:
    """One line of output: a name, what came of it, how long it took; on a terminal also live."""

    def __init__(self, name: str, *, is_verbose: bool = False) -> None:
        self.name, self.is_verbose = name, is_verbose
        self.started, self.is_live = time.monotonic(), sys.stdout.isatty()

    def progress(self, text: str) -> None:
        """Show how far it is, where somebody looks; all of it to who asked for all."""
        if self.is_verbose:
            print(text.rstrip(), flush=True)
        elif self.is_live:
            width = shutil.get_terminal_size().columns - 12
            print(f"\r\x1b[K{self.name:<10} {text.strip()[:width]}", end="", flush=True)

    def done(self, text: str) -> None:
        """Say what came of it."""
        clear = "\r\x1b[K" if self.is_live else ""
        print(
            f"{clear}{self.name:<10} {text} ({time.monotonic() - self.started:.1f} s)", flush=True
        )


def run_logged(
    command: Sequence[str | Path], log: Path, step: Step, *, environment: Mapping[str, str]
) -> None:
    """Run a command into the log; a failure is a BuildError with the last lines of it."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with log.open("a", encoding="utf-8") as out, subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", env=environment,
    ) as process:  # fmt: skip
        try:
            for line in process.stdout or ():
                out.write(line)
                tail.append(line.rstrip())
                step.progress(line)
        except BaseException:  # Ctrl-C: the compilers must not go on without us
            process.terminate()
            raise
    if process.returncode:
        is_full = any("No space left on device" in line for line in tail)
        why = "the disk is full; " if is_full else ""
        raise BuildError(f"{step.name} failed", f"{why}the whole log: {log}", details=tail)
