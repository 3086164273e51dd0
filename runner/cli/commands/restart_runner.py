"""``restart-runner``: restart the server with the settings in force."""

from __future__ import annotations

import argparse

from runner.cli import service_flags, steward
from runner.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    service_flags.declare(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Restart the server with the settings in force."""
    steward.restart(console, service_flags.variables_of(args))
    return 0
