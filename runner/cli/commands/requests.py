"""``requests``: the recorded requests with their texts, for whoever debugs an application."""

from __future__ import annotations

import argparse
from urllib.parse import urlencode

from runner import http
from runner.cli.console import Console
from runner.cli.output import printable_block, render_json
from runner.cli.parser import add_host
from runner.errors import Kind, RunnerError

_FOLLOW_S = 24 * 3600.0
_ACCEPT = [("Accept", "text/event-stream")]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-f", "--follow", action="store_true", help="print new ones as they end")
    parser.add_argument(
        "--include-existing", action="store_true", help="with -f, begin with those that are kept"
    )
    parser.add_argument("--model", metavar="MODEL", help="of this model alone")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print JSON: all of it, or a line for each new request until Ctrl-C."""
    if args.include_existing and not args.follow:
        raise RunnerError(Kind.USAGE, "--include-existing goes with --follow")
    query = {"model": args.model} if args.model else {}
    if args.include_existing:
        query["include_existing"] = "true"
    path = "/engines/requests" + (f"?{urlencode(query)}" if query else "")
    remote = console.remote(args.host)
    if not args.follow:
        console.write(render_json(remote.call("GET", path)))
        return 0
    decoder = http.sse.Decoder()
    with remote.stream("GET", path, headers=_ACCEPT, timeout_s=_FOLLOW_S) as reply:
        for piece in reply:
            for event in decoder.feed(piece):
                if event.name == "connected":
                    console.say("Connected to request stream. Press Ctrl+C to stop.")
                else:
                    console.write(printable_block(event.data + "\n"))
    console.say("Stream closed by server.")
    return 0
