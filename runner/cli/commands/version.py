"""``version``: of this client, and of the server if one answers."""

from __future__ import annotations

import argparse
import os
import sys

import runner
from runner.cli.console import Console
from runner.cli.output import render_json
from runner.cli.parser import add_host
from runner.cli.remote import NoDaemon


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print both versions; a server that does not answer is no error."""
    remote = console.remote(args.host)
    try:
        server = str(remote.call("GET", "/version")["version"])
    except NoDaemon:
        server = None
    if args.json:
        versions = {"client": runner.__version__, "server": server}
        console.write(render_json(versions))
        return 0
    console.write(
        f"Client:\n Version:    {runner.__version__}\n OS/Arch:    {_platform()}\n\n"
        f"Server:\n Version:    {server or '(not reachable)'}\n"
    )
    if server:
        console.write(f" Address:    {remote.endpoint}\n")
    return 0


def _platform() -> str:
    """Return ``linux/x86_64`` without the import of ``platform``."""
    machine = os.uname().machine if hasattr(os, "uname") else ""
    return f"{sys.platform}/{machine}".rstrip("/")
