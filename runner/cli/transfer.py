"""Follows a transfer of the daemon: its stream of JSON lines, to its last word or its error."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from runner.cli.console import Console
from runner.cli.display import Display, describe_note
from runner.cli.output import printable
from runner.cli.remote import LONG_REPLY_S, Remote, build_error
from runner.errors import Kind, RunnerError

MAX_LINE_BYTES = 1024 * 1024


def perform(
    console: Console,
    remote: Remote,
    path: str,
    body: Mapping[str, Any],
    display: AbstractContextManager[Display],
    *,
    again: str = "",
) -> dict[str, Any]:
    """Have a transfer made and show how it goes; return the daemon's last event.

    ``again`` is the command that goes on where Ctrl-C ended it. Raises RunnerError,
    KeyboardInterrupt.
    """
    try:
        with (
            display as shown,
            remote.stream("POST", path, body, timeout_s=LONG_REPLY_S) as reply,
        ):
            return follow(reply, shown)
    except KeyboardInterrupt:
        if again:
            console.say(f"Stopped. What has arrived is kept; to go on: {printable(again)}")
        raise


def follow(reply: Iterable[bytes], display: Display) -> dict[str, Any]:
    """Show the events of an answer and return the last one; raise the RunnerError it ends in."""
    for event in read_events(reply):
        match event.get("type"):
            case "success":
                display.show(event)
                return event
            case "error":
                message = str(event.get("message", "")).removeprefix("Error: ")
                code = event.get("code", Kind.UNAVAILABLE)
                raise build_error(500, {"message": message, "code": code})
            case _:
                if note := describe_note(event):
                    display.note(note)
                display.show(event)
    raise RunnerError(
        Kind.UNAVAILABLE,
        "the server broke off before it was done",
        hint="what has arrived is kept: the same command goes on from there",
    )


def read_events(reply: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a stream of JSON lines; what is none is passed over.

    Docker Model Runner escapes each line as HTML unless asked otherwise, hence the second look.
    """
    rest = b""
    for piece in reply:
        *lines, rest = (rest + piece).split(b"\n")
        yield from filter(None, map(parse_event, lines))
        if len(rest) > MAX_LINE_BYTES:
            raise RunnerError(Kind.UNAVAILABLE, "the server sent a line without an end")
    if event := parse_event(rest):
        yield event


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Parse one line, or return None."""
    text = line.decode("utf-8", "replace")
    try:
        event = json.loads(text if text.startswith('{"') else html.unescape(text))
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
