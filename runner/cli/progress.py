"""A line on a terminal's stderr that tells what is being waited for, and is gone afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_PATIENCE_S = 0.4  # a shorter wait needs no words
_TICK_S = 1.0
_ERASE_LINE = "\r\x1b[K"


@contextmanager
def waiting(err: TextIO, what: str) -> Iterator[None]:
    """Show ``what`` and the seconds it takes until the context ends; silent off a terminal."""
    if not err.isatty():
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_show, args=(err, what, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _show(err: TextIO, what: str, done: threading.Event) -> None:
    began = time.monotonic()
    if done.wait(_PATIENCE_S):
        return
    while True:
        err.write(f"{_ERASE_LINE}{what} … {time.monotonic() - began:.0f} s")
        err.flush()
        if done.wait(_TICK_S):
            break
    err.write(_ERASE_LINE)
    err.flush()
