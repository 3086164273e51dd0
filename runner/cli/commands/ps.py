"""``ps``: the models in memory, and until when they stay."""

from __future__ import annotations

import argparse
from typing import Any

from runner.cli.console import Console
from runner.cli.output import age, display_name, render_json, render_table, short_id
from runner.cli.parser import add_host

HEADER = ("MODEL NAME", "BACKEND", "MODE", "UNTIL")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--json", action="store_true", help="everything known, with the engine's settings, as JSON"
    )
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the table or the JSON."""
    running = console.remote(args.host).call("GET", "/engines/ps")
    if args.json:
        console.write(render_json(running))
        return 0
    rows = [
        [
            _name(model["model_name"]),
            model.get("backend_name", ""),
            model.get("mode", ""),
            until(model, console.now_s()),
        ]
        for model in running
    ]
    console.write(render_table(HEADER, rows))
    return 0


def until(model: dict[str, Any], now_s: float) -> str:
    """Tell in words when a model will be unloaded."""
    if model.get("loading"):
        return f"Loading... {model.get('fraction', 0):.0%}"
    if model.get("keep_alive") == "-1":
        return "Forever"
    expires_at = model.get("expires_at")
    if not expires_at:
        return "In use" if model.get("in_use") else ""
    from datetime import datetime  # which costs what a fifth of the interpreter's start does

    left_s = datetime.fromisoformat(expires_at).timestamp() - now_s
    return f"{age(left_s)} from now" if left_s >= 1 else "Expiring"


def _name(model_name: str) -> str:
    if model_name.startswith("sha256:"):
        return short_id(model_name)
    return display_name(model_name).lower()
