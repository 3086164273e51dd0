"""One child process with three pipes, as asyncio callbacks. Knows nothing of messages.

Its stdout, on which every step of an engine arrives, is read without asyncio's transport: that one
asks for 256 KiB at a time, which the C library maps and unmaps for each read (20 us where 64 KiB
take 3), and it hands data over one turn of the event loop later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import runner

READ_BYTES = 64 * 1024  # a pipe's size on Linux
SECRET_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")


@dataclass(frozen=True, slots=True)
class Command:
    """What to run."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


def worker_command(environment: Mapping[str, str]) -> Command:
    """Build the command of a real worker: this interpreter, this package, whatever the folder.

    ``-P`` keeps a ``runner`` folder that lies about from being imported. Secrets stay behind:
    native code that reads foreign files has no business with keys.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not name.upper().endswith(SECRET_ENDINGS)
    }
    home = str(Path(runner.__file__).resolve().parent.parent)
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [kept.get("PYTHONPATH"), home]))
    return Command((sys.executable, "-P", "-X", "faulthandler", "-m", "runner.worker"), kept)


@dataclass(frozen=True, slots=True)
class Handlers:
    """Whom a :class:`Child` calls, in the event loop; ``ended`` comes once and last."""

    output: Callable[[bytes], None]
    errors: Callable[[bytes], None]  # stderr
    blocked: Callable[[bool], None]  # whether it leaves its stdin unread
    hung_up: Callable[[], None]  # stdin or stdout was closed by the child, which may still live
    ended: Callable[[int], None]  # reaped, all output handed over; a status as of subprocess


class Child(asyncio.SubprocessProtocol):
    """One child. Reaping needs nobody to wait: it happens in the event loop."""

    def __init__(self, handlers: Handlers, *, drain_s: float = 1.0) -> None:
        """``drain_s``: how long output may come after the exit, should a grandchild have it."""
        self._handlers = handlers
        self._drain_s = drain_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.SubprocessTransport
        self._output_fd: int | None = None  # until its end was read
        self._closing: asyncio.TimerHandle | None = None
        self._is_reaped = False  # and its other two pipes are closed

    async def start(self, command: Command) -> None:
        """Run the command, once, in a process group of its own; raise OSError when it cannot run.

        Own group: Ctrl-C in a terminal is for the daemon, which then ends its workers politely.
        """
        ours, theirs = os.pipe()
        self._output_fd = ours
        try:
            await self._loop.subprocess_exec(
                lambda: self,
                *command.argv,
                env=command.environment,
                process_group=0,
                stdout=theirs,
            )
        except BaseException:
            self._close_output()
            raise
        finally:
            os.close(theirs)
        os.set_blocking(ours, False)
        self._loop.add_reader(ours, self._read_output, ours)

    @property
    def pid(self) -> int:
        """The process id; stays after the exit."""
        return self._transport.get_pid()

    @property
    def unread_bytes(self) -> int:
        """Bytes written that the child has not read yet."""
        return self._stdin.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send bytes to stdin; never waits, never raises. Lost when the child is gone."""
        if not self._stdin.is_closing():
            self._stdin.write(data)

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the child if it still runs."""
        if self._transport.get_returncode() is not None:
            return
        # Not Popen.send_signal: it polls first, and would steal the status from asyncio's watcher.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)

    # ---- called by asyncio -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Pass output on."""
        self._handlers.errors(data)  # stderr: the one pipe that asyncio reads

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Report a pipe that broke while the child runs."""
        if fd == 0:
            self._hang_up()

    def pause_writing(self) -> None:
        """Report that stdin fills up."""
        self._handlers.blocked(True)

    def resume_writing(self) -> None:
        """Report that stdin flows again."""
        self._handlers.blocked(False)

    def process_exited(self) -> None:
        """Wait for the rest of the output, within limits."""
        self._closing = self._loop.call_later(self._drain_s, self._close_pipes)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the child is reaped and asyncio's pipes are closed."""
        self._is_reaped = True
        self._check_over()

    # ---- its output ------------------------------------------------------------------------------

    def _read_output(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._handlers.output(data)
            return
        self._close_output()
        self._hang_up()
        self._check_over()

    def _hang_up(self) -> None:
        if self._transport.get_returncode() is None:
            self._handlers.hung_up()

    def _close_output(self) -> None:
        if self._output_fd is not None:
            self._loop.remove_reader(self._output_fd)
            os.close(self._output_fd)
            self._output_fd = None

    def _close_pipes(self) -> None:
        """A grandchild may hold them open: its output is nobody's."""
        self._transport.close()
        self._close_output()
        self._check_over()

    def _check_over(self) -> None:
        """Report the end, once: reaped, and all pipes closed."""
        if not self._is_reaped or self._output_fd is not None:
            return
        if self._closing is not None:
            self._closing.cancel()
        self._transport.close()
        returncode = self._transport.get_returncode()
        assert returncode is not None
        self._handlers.ended(returncode)

    @property
    def _stdin(self) -> asyncio.WriteTransport:
        return cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
