"""``rm``: remove names of models, and models without a name left."""

from __future__ import annotations

import argparse

from runner.cli.console import Console
from runner.cli.output import printable
from runner.cli.parser import add_host
from runner.cli.remote import model_path


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or an id")
    parser.add_argument(
        "-f",
        "--force",
        action="store_true",
        help="remove an id with several names, or a model that is in use",
    )
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Remove one after the other, and stop at the first that cannot be removed."""
    remote = console.remote(args.host)
    for model in args.models:
        # With `force` it is a model that is removed, also one that is called `purge`.
        query = f"?force={'true' if args.force else 'false'}"
        for step in remote.call("DELETE", model_path(model) + query):
            for action, what in step.items():
                console.write(f"{action}: {printable(what)}\n")
    return 0
