"""``restart-runner``: restart the server with the settings in force."""

from __future__ import annotations

import argparse

from runner.cli import steward
from runner.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """Take no arguments: settings are in the configuration file."""


def run(_: argparse.Namespace, console: Console) -> int:
    """Restart the server with the settings in force."""
    steward.restart(console)
    return 0
