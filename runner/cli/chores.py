"""Follows a chore of the daemon's that tells its progress line by line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TextIO

from runner.cli.console import Console
from runner.cli.output import decimal_size
from runner.cli.remote import LONG_REPLY_S, build_error
from runner.cli.transfer import read_events
from runner.errors import Kind, RunnerError

_ERASE_LINE = "\r\x1b[K"


def follow(
    console: Console, host: str | None, path: str, request: Mapping[str, Any], *, what: str
) -> dict[str, Any]:
    """Send the request and return the last line's object, without its ``type``.

    On a terminal, stderr tells ``WHAT x of y`` meanwhile. Raises the daemon's RunnerError.
    """
    show = _meter(console.err, what)
    last: dict[str, Any] = {}
    remote = console.remote(host)
    with remote.stream("POST", path, dict(request), timeout_s=LONG_REPLY_S) as reply:
        for line in read_events(reply):
            if "error" in line:
                raise build_error(500, line["error"])
            if line.get("type") == "progress":
                show(line)
            else:
                last = line
    show(None)
    if not last:
        raise RunnerError(Kind.UNAVAILABLE, "the server broke off before it was done")
    return {name: value for name, value in last.items() if name != "type"}


def _meter(err: TextIO, what: str) -> Callable[[Mapping[str, Any] | None], None]:
    """Return what shows a line of progress; None clears it."""

    def show(line: Mapping[str, Any] | None) -> None:
        if not err.isatty():
            return
        err.write(_ERASE_LINE)
        if line is not None:
            err.write(f"{what} {decimal_size(line['done'])} of {decimal_size(line['total'])}")
        err.flush()

    return show
