"""``push``: have the daemon send a stored model to a registry."""

from __future__ import annotations

import argparse
from typing import Any, TextIO

from runner.cli.commands.pull import add_display, say_result, token_member
from runner.cli.console import Console
from runner.cli.display import open_display
from runner.cli.output import printable
from runner.cli.parser import add_host
from runner.cli.remote import LONG_REPLY_S, Remote, model_path
from runner.cli.transfer import follow


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a stored model's name, which says where to: HOST/ORG/NAME:TAG; "
        "without a host, Docker Hub. To give it such a name: runner tag SOURCE TARGET",
    )
    add_display(parser)
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Show progress, and then the daemon's last word on stdout."""
    remote = console.remote(args.host)
    last = push(console, remote, args.model, plain=console.out, quiet=args.quiet, as_json=args.json)
    say_result(args, console, last)
    return 0


def push(
    console: Console,
    remote: Remote,
    model: str,
    *,
    plain: TextIO,
    quiet: bool = False,
    as_json: bool = False,
) -> dict[str, Any]:
    """Push a model and return the daemon's last event. Raises RunnerError, KeyboardInterrupt."""
    path, body = f"{model_path(model)}/push", token_member(model, console.env)
    what = f"Pushing {model}"
    try:
        with (
            open_display(console, what, plain=plain, quiet=quiet, as_json=as_json) as display,
            remote.stream("POST", path, body, timeout_s=LONG_REPLY_S) as reply,
        ):
            return follow(reply, display)
    except KeyboardInterrupt:
        name = printable(model)
        console.say(f"Stopped. What has arrived is kept there; to go on: runner push {name}")
        raise
