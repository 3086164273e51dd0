"""``unload``: free the memory of loaded models; they stay in the store."""

from __future__ import annotations

import argparse

from runner.cli.console import Console
from runner.cli.output import render_json
from runner.cli.parser import add_host
from runner.errors import Kind, RunnerError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--all", action="store_true", help="every model in memory")
    parser.add_argument(  # Docker's; asking for another engine's models is a mistake to tell
        "--backend", choices=("llama.cpp",), help="models of this engine; there is one"
    )
    parser.add_argument("--json", action="store_true", help="how many there were, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Unload and tell how many there were."""
    if bool(args.models) == args.all:
        raise RunnerError(Kind.USAGE, "unload takes either models or --all")
    body = {"all": args.all, "models": args.models}
    unloaded = console.remote(args.host).call("POST", "/engines/unload", body)
    count = unloaded["unloaded_runners"]
    if args.json:
        console.write(render_json(unloaded))
    elif count:
        console.write(f"Unloaded {count} model(s).\n")
    else:
        console.write("No models are running.\n" if args.all else "No such model(s) running.\n")
    return 0
