"""``uninstall-runner``: remove the service; settings stay, and models unless told otherwise."""

from __future__ import annotations

import argparse

from runner.cli import steward
from runner.cli.console import Console
from runner.cli.parser import refuse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--models", action="store_true", help="remove all models, too")
    parser.add_argument("--images", action="store_true", help="Docker's; there are none here")
    refuse(parser, "--backend", "the one engine is part of the runner; without it, all is removed")


def run(args: argparse.Namespace, console: Console) -> int:
    """Remove the service, and models if that is asked for."""
    if args.models:
        steward.remove_models(console)
    steward.uninstall(console)
    return 0
