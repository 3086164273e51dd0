"""``status``: whether a server answers, and with which engine.

Exit code 0 when it runs and 1 when not. With ``--json`` it is 0 in both cases: whoever reads JSON
reads ``running``, and Docker Compose, which needs ``endpoint``, asks ``list --json`` before, which
fails when nothing answers.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from runner.cli.console import Console
from runner.cli.endpoint import Endpoint, container_address, find_endpoints, tcp_address
from runner.cli.output import render_table
from runner.cli.parser import add_host
from runner.cli.remote import NoDaemon

HEADER = ("BACKEND", "STATUS", "DETAILS")
KIND = "Runner"  # where Docker Model Runner says "Docker Engine" or "Docker Desktop"

_ORDER = ("Running", "Error", "Not Installed", "Installing")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="the same as one line of JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print whether the server runs."""
    remote = console.remote(args.host)
    backends: dict[str, str] | None
    try:
        backends = remote.call("GET", "/engines/status")
    except NoDaemon as error:
        backends, problem = None, error
    if args.json:
        own = tcp_address(remote.endpoint, find_endpoints(console.env, args.host))
        outer = container_address(console.env, args.host, own)
        console.write(json.dumps(report(backends, own, outer)) + "\n")
        return 0
    if backends is None:
        console.say(f"The server is not running: {problem.message}.\n\n{problem.hint}")
        return 1
    console.write(f"The server is running at {remote.endpoint}\n\n")
    console.write(render_table(HEADER, rows(backends)))
    return 0


def report(backends: dict[str, str] | None, own: Endpoint, outer: Endpoint) -> dict[str, Any]:
    """Build the JSON form, with the members of Docker Model Runner's.

    ``endpoint`` is for containers: Docker Compose gives it to them.
    """
    return {
        "running": backends is not None,
        "backends": backends or {},
        "kind": KIND,
        "endpoint": f"{outer}/v1/",
        "endpointHost": f"{own}/v1/",
    }


def rows(backends: dict[str, str]) -> list[list[str]]:
    """Split each backend's text into state and details; what runs comes first."""
    split = [[name, *_split(text)] for name, text in backends.items()]
    return sorted(split, key=lambda row: (_rank(row[1]), row[0]))


def _split(text: str) -> tuple[str, str]:
    state, _, details = text.partition(": ")
    return state, details


def _rank(state: str) -> int:
    return _ORDER.index(state) if state in _ORDER else len(_ORDER)
