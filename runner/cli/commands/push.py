"""``push``: have the daemon send a stored model to a registry."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from typing import Any

from runner.cli.commands.pull import add_display, chosen_display, say_result
from runner.cli.console import Console
from runner.cli.display import Display
from runner.cli.parser import add_host
from runner.cli.remote import Remote, model_path
from runner.cli.transfer import perform


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
    last = push(console, remote, args.model, chosen_display(args, console, f"Pushing {args.model}"))
    say_result(args, console, last)
    return 0


def push(
    console: Console, remote: Remote, model: str, display: AbstractContextManager[Display]
) -> dict[str, Any]:
    """Push a model and return the daemon's last event. Raises RunnerError, KeyboardInterrupt."""
    return perform(
        console, remote, f"{model_path(model)}/push", {}, display, again=f"runner push {model}"
    )
