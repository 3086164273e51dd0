"""``tune``: measure which settings of the engine are fastest for a model on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from runner.cli.console import Console
from runner.cli.output import render_json, render_table
from runner.cli.parser import add_host
from runner.cli.progress import waiting
from runner.cli.remote import LONG_REPLY_S
from runner.cli.transfer import read_events
from runner.errors import Kind, RunnerError

HEADER = ("", "FLASH ATTENTION", "KV LAYOUT", "UBATCH", "THREADS")
SPEEDS = ("ONE ANSWER", "AFTER {depth}", "{rows} TOGETHER", "PROMPT")  # tokens a second


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--json", action="store_true", help="what was measured, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Wait for the search and print what was measured and chosen."""
    body = {"model": args.model}
    remote = console.remote(args.host)
    what = f"measuring {args.model} whenever it is idle"
    with (
        waiting(console.err, what),
        remote.stream("POST", "/engines/tune", body, timeout_s=LONG_REPLY_S) as reply,
    ):
        report = collect(list(read_events(reply)))
    if args.json:
        console.write(render_json(report))
        return 0
    console.write(render_measured(report))
    console.write(f"\n{describe(report)}\n")
    if report["tuned"]["is_disturbed"]:
        console.say(
            "Not kept, for other programs used the processor meanwhile: tune again when they rest."
        )
    return 0


def collect(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the lines of an answer together; raise RunnerError for one that tells of a failure."""
    members = [{name: event[name] for name in event if name != "type"} for event in events]
    kinds = [event.get("type") for event in events]
    if "error" in kinds:
        message = members[kinds.index("error")].get("message", "")
        raise RunnerError(Kind.UNAVAILABLE, f"nothing was tuned: {message}")
    if "tuned" not in kinds:
        raise RunnerError(Kind.UNAVAILABLE, "the server broke off before all was measured")
    measured = [each for kind, each in zip(kinds, members, strict=True) if kind == "measured"]
    return {"measured": measured, "tuned": members[kinds.index("tuned")]}


def render_measured(report: dict[str, Any]) -> str:
    """Lay out one line a candidate; a star marks what was chosen, but for the threads."""
    measured = report["measured"]
    chosen = _but_for_threads(report["tuned"]["settings"])
    speeds = [text.format(**measured[0]) for text in SPEEDS]
    rows = [
        [
            "*" if _but_for_threads(each["settings"]) == chosen else "",
            switch(each["settings"]["flash_attention"]),
            each["settings"]["kv_layout"],
            str(each["settings"]["ubatch_size"]),
            threads(each["settings"]),
            *(f"{each['rates'][rate]:.1f}" for rate in ("one", "one_deep", "many", "prompt")),
        ]
        for each in measured
    ]
    return render_table((*HEADER, *speeds), rows)


def describe(report: dict[str, Any]) -> str:
    """Say in a sentence what was chosen."""
    tuned = report["tuned"]
    settings = tuned["settings"]
    return (
        f"Fastest, in {tuned['duration_s']:.0f} s: flash attention "
        f"{switch(settings['flash_attention'])}, KV {settings['kv_layout']}, "
        f"ubatch {settings['ubatch_size']}, threads {threads(settings)}; "
        f"{tuned['gain']:.2f} times the speed of the settings in force."
    )


def threads(settings: dict[str, Any]) -> str:
    """Write the threads for one row, and those for many where they differ: ``2``, ``2/4``."""
    one, many = settings["threads"], settings.get("threads_batch") or settings["threads"]
    return str(one) if one == many else f"{one}/{many}"


def switch(value: bool) -> str:
    """Write a switch's position."""
    return "on" if value else "off"


def _but_for_threads(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("flash_attention", "kv_layout", "ubatch_size")}
