"""Logging of the daemon: one line a record, to a bounded file and, in the foreground, to stderr.

A line is ``[2026-07-22T10:00:00.123Z] level logger message``: the time leads in brackets, as Docker
Model Runner's logs have it. What stderr gets may be JSON, for those who collect logs. Control
characters are escaped, so that nothing a client sends can start a line of its own or reach a
terminal. Nothing is set up on import; a library that logs uses ``logging.getLogger`` as usual.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from runner.log_lines import render_line

MAX_FILE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 2  # rotated ones, beside the one being written

ROOT = "runner"  # our loggers are runner.<package>


def open_file(path: Path) -> logging.Handler:
    """Return a handler that appends to a file of bounded size; OSError when it cannot be opened."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _BoundedFile(path, maxBytes=MAX_FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8")


@contextmanager
def open_logs(level: str, handlers: Sequence[logging.Handler]) -> Iterator[None]:
    """Send records to ``handlers`` until the context ends, which closes them.

    A handler without a formatter writes lines of text. ``level`` (debug, info, warning, error)
    rules our own loggers; other libraries speak from warning on.
    """
    root, ours = logging.getLogger(), logging.getLogger(ROOT)
    for handler in handlers:
        if handler.formatter is None:
            handler.setFormatter(LineFormatter())
        root.addHandler(handler)
    before = ours.level
    ours.setLevel(level.upper())
    try:
        yield
    finally:
        ours.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


class LineFormatter(logging.Formatter):
    """Format a record, its traceback included, as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return ``[time] level logger message`` without a control character in it."""
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        line = render_line(_stamp(record), record.levelname.lower(), record.name, text)
        return escape(line)


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON object in a line of ASCII.

    Its members are ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, where
    something was raised ``exception`` (its traceback), and those of the mapping that whoever logs
    gave as ``extra={"facts": ...}``: JSON values by names that are none of the former.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object's text."""
        members: dict[str, Any] = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members | getattr(record, "facts", {}))


def _stamp(record: logging.LogRecord) -> str:
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{when}.{int(record.msecs):03d}Z"


def escape(text: str) -> str:
    """Write control characters, and lone surrogates, as backslash escapes."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


class _BoundedFile(logging.handlers.RotatingFileHandler):
    """Rotates by size, private to its owner; a full disk loses lines, never the daemon."""

    def _open(self) -> TextIOWrapper:
        """Open the file, which a rotation makes anew, so that only its owner can read it."""
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        """Drop a record that could not be written: a traceback for each would help nobody."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
