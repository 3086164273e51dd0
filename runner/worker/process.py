"""The process as the system sees it: its pipe, its parent, its privileges."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

READ_BYTES = 64 * 1024  # a larger buffer is mapped and unmapped by the C library for each read
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38


class Pipe:
    """The two ends that the parent gave us as fd 0 and fd 1."""

    def __init__(self, input_fd: int, output_fd: int) -> None:
        self._input_fd = input_fd
        self._output_fd = output_fd

    @classmethod
    def claim(cls) -> Pipe:
        """Move the pipe away from stdin and stdout, so that no stray print gets between frames."""
        pipe = cls(os.dup(0), os.dup(1))
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        return pipe

    def read(self) -> bytes:
        """Wait for the next bytes; none means that the parent is gone."""
        return os.read(self._input_fd, READ_BYTES)

    def write(self, data: bytes) -> None:
        """Write all bytes; waits while the parent does not read."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._output_fd, view) :]


def bind_to_parent() -> None:
    """On Linux: die with the parent, whatever this process is doing, and gain no privileges.

    Elsewhere the end of input is the sign.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
