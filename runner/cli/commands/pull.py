"""``pull``: have the daemon add a model to its store."""

from __future__ import annotations

import argparse
import html
import json
from collections.abc import Iterator
from typing import Any

from runner.cli.console import Console
from runner.cli.output import decimal_size, printable
from runner.cli.parser import add_host
from runner.cli.remote import LONG_REPLY_S, Reply
from runner.errors import Kind, RunnerError

_ERASE_LINE = "\r\x1b[K"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="package:NAME for the GGUF that an installed Python package ships",
    )
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Show progress on stderr, and the daemon's last word on stdout."""
    remote = console.remote(args.host)
    received: dict[str, int] = {}
    done = ""
    body = {"from": args.model}
    with remote.stream("POST", "/models/create", body, timeout_s=LONG_REPLY_S) as reply:
        for event in read_events(reply):
            message = printable(str(event.get("message", "")))
            match event.get("type"):
                case "success":
                    done = message
                case "error":
                    raise RunnerError(Kind.UNAVAILABLE, message.removeprefix("Error: "))
                case "warning":
                    console.say(f"Warning: {message}")
                case _:
                    _show(console, describe(event, received) or message)
    if console.err.isatty():
        console.err.write(_ERASE_LINE)
    if not done:
        raise RunnerError(Kind.UNAVAILABLE, "the server broke off before the model was there")
    console.write(f"{done}\n")
    return 0


def read_events(reply: Reply) -> Iterator[dict[str, Any]]:
    """Yield the objects of a stream of JSON lines; what is none is passed over.

    Docker Model Runner escapes each line as HTML unless asked otherwise, hence the second look.
    """
    rest = b""
    for piece in reply:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if event := parse_event(line.decode("utf-8", "replace")):
                yield event
    if event := parse_event(rest.decode("utf-8", "replace")):
        yield event


def parse_event(line: str) -> dict[str, Any] | None:
    """Parse one line, or return None."""
    try:
        event = json.loads(line if line.startswith('{"') else html.unescape(line))
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def describe(event: dict[str, Any], received: dict[str, int]) -> str:
    """Tell how much of all layers is there; empty when the event does not say."""
    layer, total = event.get("layer") or {}, event.get("total") or 0
    if not layer.get("id") or not total:
        return ""
    received[layer["id"]] = layer.get("current", 0)
    return f"Downloaded {decimal_size(sum(received.values()))} of {decimal_size(total)}"


def _show(console: Console, text: str) -> None:
    if console.err.isatty():
        console.err.write(f"{_ERASE_LINE}{text}")
        console.err.flush()
    else:
        console.say(text)
