"""``start-runner``: start the server in the background."""

from __future__ import annotations

import argparse

from runner.cli import steward
from runner.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """Take no arguments: settings are in the configuration file."""


def run(_: argparse.Namespace, console: Console) -> int:
    """Start the server in the background."""
    steward.start(console)
    return 0
