"""``stop-runner``: stop the server, once running answers are finished."""

from __future__ import annotations

import argparse

from runner.cli import steward
from runner.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """Take no arguments: settings are in the configuration file."""


def run(_: argparse.Namespace, console: Console) -> int:
    """Stop the server, once running answers are finished."""
    steward.stop(console)
    return 0
