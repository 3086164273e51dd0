"""``search``: models that can be pulled, and whether they fit this machine."""

from __future__ import annotations

import argparse
from typing import Any

from runner.cli.background import reach
from runner.cli.console import Console
from runner.cli.output import decimal_size, printable, render_json, render_table
from runner.cli.parser import add_host
from runner.cli.progress import waiting
from runner.cli.remote import percent_encode

HEADER = ("NAME", "DESCRIPTION", "DEFAULT", "SIZE", "FITS", "DOWNLOADS", "STARS", "SOURCE")
DESCRIPTION_WIDTH = 40


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("term", nargs="?", default="", metavar="TERM", help="part of the name")
    parser.add_argument(
        "-n", "--limit", type=int, default=32, metavar="N", help="most rows (default: 32)"
    )
    parser.add_argument(
        "--source",
        choices=("all", "dockerhub", "huggingface"),
        default="all",
        help="where to search (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="the rows as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the rows, most downloaded first."""
    query = f"term={percent_encode(args.term)}&limit={args.limit}&source={args.source}"
    remote = reach(console, args.host)
    with waiting(console.err, "Searching"):
        result = remote.call("GET", f"/registries/search?{query}")
    if args.json:
        console.write(render_json(result["models"]))
        return 0
    for warning in result["warnings"]:
        console.say(f"Warning: {printable(warning)}")
    if not result["models"]:
        matching = f' matching "{printable(args.term)}"' if args.term else ""
        console.write(f"No models found{matching}\n")
        return 0
    console.write(render_table(HEADER, [_row(model) for model in result["models"]]))
    return 0


def _row(model: dict[str, Any]) -> list[str]:
    description = model.get("description", "")
    if len(description) > DESCRIPTION_WIDTH:
        description = description[: DESCRIPTION_WIDTH - 1] + "…"
    size = model.get("size_bytes")
    return [
        model["name"],
        description,
        model.get("quantization", ""),
        decimal_size(size) if size else "",
        model.get("fit", "?"),
        render_count(model.get("downloads", 0)),
        str(model.get("stars", 0)),
        model.get("source", ""),
    ]


def render_count(count: int) -> str:
    """Render a count as Docker's search does: ``1.2M``, ``45.0K``, ``999``."""
    if count >= 1_000_000:
        return f"{count / 1_000_000:.1f}M"
    return f"{count / 1000:.1f}K" if count >= 1000 else str(count)
