"""``inspect``: one model of the store or of a registry, as JSON."""

from __future__ import annotations

import argparse

from runner.cli.console import Console
from runner.cli.output import render_json
from runner.cli.parser import add_host
from runner.cli.remote import model_path
from runner.errors import Kind, RunnerError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--openai", action="store_true", help="OpenAI's form of it")
    parser.add_argument(
        "-r", "--remote", action="store_true", help="what its registry has, without pulling it"
    )
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the model."""
    if args.openai and args.remote:
        raise RunnerError(Kind.USAGE, "--remote flag cannot be used with --openai flag")
    path = model_path(args.model, under="/v1/models" if args.openai else "/models")
    query = "?remote=true" if args.remote else ""
    console.write(render_json(console.remote(args.host).call("GET", path + query)))
    return 0
