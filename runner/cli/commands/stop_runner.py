"""``stop-runner``: stop the server, once running answers are finished."""

from __future__ import annotations

import argparse

from runner.cli import steward
from runner.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--models", action="store_true", help="remove all models, too")


def run(args: argparse.Namespace, console: Console) -> int:
    """Stop the server, once running answers are finished."""
    if args.models:
        steward.remove_models(console)
    steward.stop(console)
    return 0
