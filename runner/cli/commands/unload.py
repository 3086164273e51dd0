"""``unload``: free the memory of loaded models; they stay in the store."""

from __future__ import annotations

import argparse

from runner.cli.console import Console
from runner.cli.parser import add_host
from runner.errors import Kind, RunnerError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--all", action="store_true", help="every model in memory")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Unload and tell how many there were."""
    if bool(args.models) == args.all:
        raise RunnerError(Kind.USAGE, "unload takes either models or --all")
    body = {"all": args.all, "models": args.models}
    count = console.remote(args.host).call("POST", "/engines/unload", body)["unloaded_runners"]
    if count:
        console.write(f"Unloaded {count} model(s).\n")
    else:
        console.write("No models are running.\n" if args.all else "No such model(s) running.\n")
    return 0
