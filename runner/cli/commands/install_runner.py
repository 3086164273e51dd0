"""``install-runner``: make the server a service of this user, and start it."""

from __future__ import annotations

import argparse

from runner.cli import steward
from runner.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """Take no arguments: settings are in the configuration file."""


def run(_: argparse.Namespace, console: Console) -> int:
    """Make the server a service of this user, and start it."""
    steward.install(console)
    return 0
