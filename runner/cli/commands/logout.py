"""``logout``: have the daemon forget a login to a registry."""

from __future__ import annotations

import argparse

from runner.cli.console import Console
from runner.cli.output import printable
from runner.cli.parser import add_host


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "registry", nargs="?", default="", metavar="HOST", help="host[:port] (default: Docker Hub)"
    )
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Forget it, if there is one."""
    remote = console.remote(args.host)
    answer = remote.call("POST", "/registries/logout", {"host": args.registry})
    name = printable(args.registry) or "Docker Hub"
    console.write(
        f"Removed the login to {name}\n" if answer["removed"] else f"Not logged in to {name}\n"
    )
    return 0
