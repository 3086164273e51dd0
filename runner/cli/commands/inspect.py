"""``inspect``: one stored model, as JSON."""

from __future__ import annotations

import argparse

from runner.cli.console import Console
from runner.cli.output import render_json
from runner.cli.parser import add_host
from runner.cli.remote import model_path


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--openai", action="store_true", help="OpenAI's form of it")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the model."""
    path = model_path(args.model, under="/v1/models" if args.openai else "/models")
    console.write(render_json(console.remote(args.host).call("GET", path)))
    return 0
