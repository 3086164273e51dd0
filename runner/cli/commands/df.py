"""``df``: the disk space that models take."""

from __future__ import annotations

import argparse

from runner.cli.console import Console
from runner.cli.output import decimal_size, render_json, render_table
from runner.cli.parser import add_host

HEADER = ("TYPE", "SIZE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="bytes, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the table or the JSON."""
    usage = console.remote(args.host).call("GET", "/engines/df")
    if args.json:
        console.write(render_json(usage))
        return 0
    rows = [["Models", decimal_size(usage["models_disk_usage"])]]
    if engine := usage.get("default_backend_disk_usage"):
        rows.append(["Inference engine", decimal_size(engine)])
    console.write(render_table(HEADER, rows))
    return 0
