"""``uninstall-runner``: remove the service; models and settings stay."""

from __future__ import annotations

import argparse

from runner.cli import steward
from runner.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """Take no arguments: settings are in the configuration file."""


def run(_: argparse.Namespace, console: Console) -> int:
    """Remove the service; models and settings stay."""
    steward.uninstall(console)
    return 0
