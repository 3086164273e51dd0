"""``mv-store``: move the store to another folder or disk."""

from __future__ import annotations

import argparse
from pathlib import Path

from runner.cli.chores import follow
from runner.cli.console import Console
from runner.cli.output import printable, render_json
from runner.cli.parser import add_host


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", metavar="DIR", help="empty, or not there yet")
    parser.add_argument("--json", action="store_true", help="where it is now, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Wait for the move, and tell where the store is now."""
    request = {"path": str(Path(args.folder).expanduser().resolve())}  # the daemon is elsewhere
    moved = follow(console, args.host, "/models/move", request, what="Copied")
    console.write(render_json(moved) if args.json else f"{printable(moved['path'])}\n")
    if not moved["remembered"]:
        console.say(
            "The server was told by MODELS_PATH or --models-path where its models are: "
            "give it this folder at its next start."
        )
    return 0
