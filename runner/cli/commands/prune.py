"""``prune``: free the disk space that no model needs."""

from __future__ import annotations

import argparse
from typing import Any

from runner.cli.console import Console
from runner.cli.output import decimal_size, display_name, printable, render_json, short_id
from runner.cli.parser import add_host
from runner.cli.progress import waiting
from runner.cli.remote import LONG_REPLY_S
from runner.durations import parse_duration
from runner.errors import Kind, RunnerError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--unused-since",
        metavar="TIME",
        help="models too that were last used, or added, longer ago than this: 30d, 12h",
    )
    parser.add_argument("--untagged", action="store_true", help="models too that have no name")
    parser.add_argument("--dry-run", action="store_true", help="tell what would go, and stop")
    parser.add_argument("--json", action="store_true", help="what went, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Prune, and print the models that went and the bytes that came free."""
    request = {"untagged": args.untagged, "dry_run": args.dry_run}
    if args.unused_since is not None:
        request["unused_since_s"] = _seconds(args.unused_since)
    with waiting(console.err, "Pruning"):
        remote = console.remote(args.host)
        pruned = remote.call("POST", "/models/prune", request, timeout_s=LONG_REPLY_S)
    if args.json:
        console.write(render_json(pruned))
        return 0
    for model in pruned["models"]:
        console.write(f"{'Would remove' if args.dry_run else 'Removed'}: {_name(model)}\n")
    what = "Would free" if args.dry_run else "Freed"
    console.write(f"{what}: {decimal_size(pruned['freed'])}\n")
    return 0


def _seconds(text: str) -> int:
    try:
        return int(parse_duration(text))
    except ValueError:
        raise RunnerError(
            Kind.USAGE, f"--unused-since: expected a time such as 30d or 12h, got {text!r}"
        ) from None


def _name(model: dict[str, Any]) -> str:
    names = [display_name(tag) for tag in model["tags"]] or [short_id(model["id"])]
    return printable(", ".join(names))
