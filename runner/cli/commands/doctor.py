"""``doctor``: step by step to a model of a registry, and what to do about what fails."""

from __future__ import annotations

import argparse
from typing import Any

from runner.cli.console import Console
from runner.cli.output import printable, render_json
from runner.cli.parser import add_host
from runner.cli.progress import waiting
from runner.cli.remote import percent_encode

TIMEOUT_S = 300.0
MARKS = {"passed": "ok", "failed": "FAILED", "skipped": "-"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL|REGISTRY",
        help="a model that cannot be pulled, or a registry such as ghcr.io, 127.0.0.1:5000 or "
        "http://registry:5000 (default: try Docker Hub and Hugging Face)",
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the steps; 1 when one of them failed."""
    query = f"?name={percent_encode(args.model)}" if args.model else ""
    remote = console.remote(args.host)
    with waiting(console.err, "Trying"):
        found = remote.call("GET", f"/registries/doctor{query}", timeout_s=TIMEOUT_S)
    if args.json:
        console.write(render_json(found))
    else:
        console.write("\n".join(render(one) for one in found))
    return 0 if all(one["healthy"] for one in found) else 1


def render(found: dict[str, Any]) -> str:
    """Lay out the steps of one target, and the first remedy below them."""
    steps = found["steps"]
    lines = [printable(found["target"])]
    lines += [
        f"  {step['name']:<10}{MARKS.get(step['verdict'], step['verdict']):<8}"
        f"{printable(step['detail'])}".rstrip()
        for step in steps
    ]
    lines += [f"  -> {printable(step['remedy'])}" for step in steps if step.get("remedy")]
    if found["hosts"]:
        lines.append(f"  hosts to let through: {printable(', '.join(found['hosts']))}")
    return "".join(f"{line}\n" for line in lines)
