"""Shows a transfer: bars on a terminal, short lines elsewhere, JSON for programs, or nothing."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from runner.cli.board import Board
from runner.cli.console import Console
from runner.cli.output import printable

PATIENCE_S = 0.4  # what is over sooner needs no words
TICK_S = 0.1
LINE_S = 1.0  # between two plain lines

_ERASE_BELOW = "\x1b[J"


class Display(Protocol):
    """Takes the events of a transfer, one by one."""

    def show(self, event: dict[str, Any]) -> None:
        """Show one."""

    def note(self, text: str) -> None:
        """Tell a person something that stays to be read."""


@contextmanager
def open_display(
    console: Console, what: str, *, plain: TextIO, quiet: bool = False, as_json: bool = False
) -> Iterator[Display]:
    """Choose how a transfer is shown; ``plain`` takes the lines when stderr is no terminal."""
    if as_json:
        yield _JsonLines(console)
    elif quiet:
        yield _Silence(console)
    elif console.err.isatty():
        with _Bars(console.err, what) as bars:
            yield bars
    else:
        yield PlainLines(console, lambda line: _write_line(plain, line))


class _JsonLines:
    """Each event as the daemon told it, on stdout; nothing else is there."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, event: dict[str, Any]) -> None:
        self._console.write(json.dumps(event, ensure_ascii=False) + "\n")

    def note(self, text: str) -> None:
        """It is in the event."""


class _Silence:
    """Only what must be known."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, event: dict[str, Any]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        self._console.say(text)


class PlainLines:
    """At most one line a second, and one when all is there."""

    def __init__(self, console: Console, write: Callable[[str], None]) -> None:
        self._console = console
        self._write = write
        self._board = Board("", began_s=0.0)
        self._last_s = float("-inf")
        self._last = ""

    def show(self, event: dict[str, Any]) -> None:
        """Show how far it is, if that is due."""
        now_s = self._console.now_s()
        self._board.take(event, now_s)
        is_due = now_s - self._last_s >= LINE_S
        is_done = self._board.done_bytes >= self._board.total_bytes
        line = self._board.line()
        if line and line != self._last and (is_due or is_done):
            self._last_s, self._last = now_s, line
            self._write(line)

    def note(self, text: str) -> None:
        """Tell it on a line of its own."""
        self._write(text)


def _write_line(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


class _Bars:
    """Bars that a thread of their own keeps moving, so that a stall is seen as one."""

    def __init__(
        self, err: TextIO, what: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._err = err
        self._clock = clock
        self._began_s = clock()
        self._board = Board(what, began_s=self._began_s)
        self._notes: list[str] = []
        self._lines = 0  # on the screen, above the cursor
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_moving, daemon=True)

    def __enter__(self) -> _Bars:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        with self._lock:
            self._draw(is_last=True)

    def show(self, event: dict[str, Any]) -> None:
        with self._lock:
            self._board.take(event, self._clock())

    def note(self, text: str) -> None:
        with self._lock:
            self._notes.append(text)

    def _keep_moving(self) -> None:
        if not self._over.wait(PATIENCE_S):
            while True:
                with self._lock:
                    self._draw()
                if self._over.wait(TICK_S):
                    return

    def _draw(self, *, is_last: bool = False) -> None:
        columns, rows = _screen(self._err)
        lines = self._board.render(self._clock(), columns=columns - 1, rows=rows - 1)
        if is_last and not self._board.total_bytes:
            lines = []  # the waiting line has served
        above = f"\r\x1b[{self._lines}A" if self._lines else "\r"
        text = "".join(f"{line}\n" for line in [*self._notes, *lines])
        self._err.write(f"{above}{_ERASE_BELOW}{text}")
        self._err.flush()
        self._notes.clear()
        self._lines = len(lines)


def _screen(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return max(size.columns, 20), max(size.lines, 4)


def describe_note(event: dict[str, Any]) -> str:
    """Return what an event says to people; empty for one of a layer's numbers."""
    if (event.get("layer") or {}).get("id"):
        return ""
    message = printable(str(event.get("message", "")))
    return f"Warning: {message}" if event.get("type") == "warning" else message
