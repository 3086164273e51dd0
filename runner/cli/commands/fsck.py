"""``fsck``: read every byte of the store and compare it with its digest."""

from __future__ import annotations

import argparse
from typing import Any

from runner.cli.chores import follow
from runner.cli.console import Console
from runner.cli.output import decimal_size, display_name, printable, render_json
from runner.cli.parser import add_host

DAMAGED = 1  # exit code when something is not as it should be and was not restored


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--repair",
        action="store_true",
        help="restore what can be, and set damaged files aside so that a pull replaces them",
    )
    parser.add_argument("--json", action="store_true", help="what was found, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Wait for the check, and print the damages and a summary."""
    request = {"repair": args.repair}
    checkup = follow(console, args.host, "/models/check", request, what="Checked")
    damages = checkup["damages"]
    if args.json:
        console.write(render_json(checkup))
    else:
        for damage in damages:
            console.write(f"{printable(describe(damage))}\n")
        summary = f"{checkup['blobs']} files, {decimal_size(checkup['bytes'])}"
        console.write(f"Checked {summary}: {_count(damages)}\n")
        if damages and not args.repair:
            console.say("Repair with: runner fsck --repair")
    return DAMAGED if any(damage["remedy"] != "restored" for damage in damages) else 0


def describe(damage: dict[str, Any]) -> str:
    """Tell of one damage in a line, with what to do."""
    names = [display_name(name) for name in damage["models"]]
    whose = f" of {', '.join(names)}" if names else ""
    remedy = {
        "none": "",
        "set aside": "; set aside",
        "released": "; the store let go of it",
        "restored": "; restored",
    }.get(damage["remedy"], "")
    hint = f"; pull or add {names[0]} again" if remedy and names else ""
    return f"{damage['digest']}{whose} {damage['problem']}{remedy}" + (
        "" if damage["remedy"] == "restored" else hint
    )


def _count(damages: list[Any]) -> str:
    if not damages:
        return "all as they should be"
    return "1 is damaged" if len(damages) == 1 else f"{len(damages)} are damaged"
