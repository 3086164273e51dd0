"""A worker's stderr as log lines: bounded in length, in rate, and in what is kept. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LineLimits:
    """How much of a worker's chatter is worth having."""

    line_bytes: int = 4096  # a longer line is cut here
    tail_lines: int = 20  # kept for the error message of a crash
    burst_bytes: int = 256 * 1024  # llama.cpp tells about 20 KiB while it loads
    rate_bytes_s: int = 16 * 1024


class LineLog:
    """Cuts bytes into lines, hands them to ``sink``, and remembers the last ones.

    Over the rate, lines are dropped unread (a worker may write a gigabyte) and the gap is told in
    one line. The tail is kept whatever the rate.
    """

    def __init__(
        self, sink: Callable[[str], None], *, limits: LineLimits | None = None, now_s: float = 0.0
    ) -> None:
        self._sink = sink
        self._limits = limits or LineLimits()
        self._credit_bytes = float(self._limits.burst_bytes)
        self._credited_s = now_s
        self._dropped_bytes = 0
        self._partial = b""
        self._tail: deque[bytes] = deque(maxlen=self._limits.tail_lines)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, also those that were not logged."""
        lines = [*self._tail, self._partial] if self._partial else [*self._tail]
        return tuple(printable(line) for line in lines[-self._limits.tail_lines :])

    def feed(self, data: bytes, *, now_s: float) -> None:
        """Take the next bytes, at a monotonic time."""
        if self._spend(len(data), now_s):
            self._tell_gap()
            *lines, rest = (self._partial + data).split(b"\n")
            self._take(lines, rest, self._emit)
        else:
            self._dropped_bytes += len(data)
            # The daemon has better to do than to cut lines of which the tail forgets most.
            *lines, rest = (self._partial + data).rsplit(b"\n", self._limits.tail_lines + 1)
            self._take(lines[-self._limits.tail_lines :], rest, self._tail.append)

    def finish(self) -> None:
        """Say that no more comes: log what is held back."""
        self._tell_gap()
        if self._partial:
            self._emit(self._partial)
            self._partial = b""

    def _spend(self, size_bytes: int, now_s: float) -> bool:
        limits = self._limits
        earned = max(0.0, now_s - self._credited_s) * limits.rate_bytes_s
        self._credit_bytes = min(limits.burst_bytes, self._credit_bytes + earned)
        self._credited_s = now_s
        if size_bytes > self._credit_bytes:
            return False
        self._credit_bytes -= size_bytes
        return True

    def _take(self, lines: list[bytes], rest: bytes, take: Callable[[bytes], None]) -> None:
        for line in lines:
            if line.strip():
                take(line[: self._limits.line_bytes])
        self._partial = rest[: self._limits.line_bytes]

    def _emit(self, line: bytes) -> None:
        self._tail.append(line)
        self._sink(printable(line))

    def _tell_gap(self) -> None:
        if self._dropped_bytes:
            self._sink(f"({self._dropped_bytes} bytes of output dropped: over the rate limit)")
            self._dropped_bytes = 0


def printable(line: bytes) -> str:
    """Decode a line; escape what would steer a terminal or forge a log line."""
    text = line.decode("utf-8", "replace").rstrip()
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
