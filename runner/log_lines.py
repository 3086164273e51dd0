"""How a line of the log is laid out: ``runner.logs`` writes it, and others take lines out. Pure."""

from __future__ import annotations

import re

ENGINES = "runner.worker"  # the logger of what engines write to their stderr


def render_line(stamp: str, level: str, logger: str, text: str) -> str:
    """Lay out a line, without its end."""
    return f"[{stamp}] {level} {logger} {text}"


_ENGINE_LINE = re.compile(rb"^\[[^]\n]*\] [a-z]+ %b .*\n" % re.escape(ENGINES).encode(), re.M)


class EngineSieve:
    """Takes the lines of engines out of a log that comes in pieces, and gives whole lines."""

    def __init__(self) -> None:
        self._begun = b""  # of a line whose end has not come

    def feed(self, piece: bytes) -> bytes:
        """Return the lines that are whole now and no engine's."""
        lines, end, self._begun = (self._begun + piece).rpartition(b"\n")
        return _ENGINE_LINE.sub(b"", lines + end)

    def finish(self) -> bytes:
        """Return what is left of a log that ends in the middle of a line."""
        return _ENGINE_LINE.sub(b"", self._begun + b"\n").removesuffix(b"\n")
