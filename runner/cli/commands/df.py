"""``df``: the disk space that models take."""

from __future__ import annotations

import argparse

from runner.cli.console import Console
from runner.cli.output import decimal_size, render_json, render_table
from runner.cli.parser import add_host

HEADER = ("TYPE", "SIZE")
# Told only where there is something: member of the answer, and its row.
PARTS = (
    ("default_backend_disk_usage", "Inference engine"),
    ("unfinished", "Unfinished downloads"),
    ("unneeded", "Unneeded (see: runner prune)"),
    ("shared", "Used by several models, counted once"),
    ("linked", "Also files of yours, counted here"),
)


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
    rows = [["Models", decimal_size(usage.get("models", usage["models_disk_usage"]))]]
    rows += [[row, decimal_size(usage[member])] for member, row in PARTS if usage.get(member)]
    console.write(render_table(HEADER, rows))
    return 0
