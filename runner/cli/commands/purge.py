"""``purge``: remove all models."""

from __future__ import annotations

import argparse

from runner.cli.console import Console
from runner.cli.parser import add_host
from runner.cli.remote import LONG_REPLY_S, Remote

WARNING = "WARNING! This will remove the entire models directory."
QUESTION = "Are you sure you want to continue? [y/N] "


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Ask, unload all models, and remove them; silent when it worked, as Docker's."""
    if not args.force:
        console.say(WARNING)
        console.err.write(QUESTION)
        console.err.flush()
        if console.stdin.readline().strip() not in ("y", "Y"):
            console.say("Operation cancelled.")
            return 0
    purge(console.remote(args.host))
    return 0


def purge(remote: Remote) -> None:
    """Unload all models and remove them."""
    remote.call("POST", "/engines/unload", {"all": True})
    remote.call("DELETE", "/models/purge", timeout_s=LONG_REPLY_S)
