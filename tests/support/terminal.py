"""A program on a pseudo-terminal, as a person has it: type, look, wait."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

# Makes stdin the controlling terminal, so that Ctrl-C becomes a signal, and becomes the program.
LEAD = (
    "import fcntl, os, sys, termios;"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"


class Terminal:
    """Runs ``python ARGUMENTS`` with stdin, stdout and stderr on one terminal."""

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        *,
        size: tuple[int, int] | None = None,
    ) -> None:
        """``size``: lines and columns; without it the terminal knows none, and COLUMNS is 100."""
        self._fd, slave = pty.openpty()
        told = {"COLUMNS": "100"}
        if size is not None:
            termios.tcsetwinsize(slave, size)
            told = {"COLUMNS": str(size[1]), "LINES": str(size[0])}
        self._process = subprocess.Popen(
            [sys.executable, "-c", LEAD, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**env, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **told},
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""
        self._seen = 0

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def look_for(self, text: str, *, timeout_s: float = 20) -> str:
        """Wait until ``text`` is shown after what was seen before; return all up to it."""
        deadline = time.monotonic() + timeout_s
        while (at := self.shown.find(text, self._seen)) < 0:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._read(left_s):
                raise AssertionError(f"{text!r} was not shown; this was: {self.shown!r}")
        before = self.shown[self._seen : at]
        self._seen = at + len(text)
        return before

    def wait(self, *, timeout_s: float = 20) -> int:
        """Return the exit code."""
        deadline = time.monotonic() + timeout_s
        while self._read(max(0.0, deadline - time.monotonic())):
            pass
        return self._process.wait(timeout=max(1.0, deadline - time.monotonic()))

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], timeout_s)
        try:
            data = os.read(self._fd, 65536) if ready else b""
        except OSError:  # Linux: every program has closed the terminal
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._fd)
