"""``reinstall-runner``: make the service anew, with other settings or another installation."""

from __future__ import annotations

import argparse

from runner.cli import service_flags, steward
from runner.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    service_flags.declare(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Remove the service if there is one, and install it."""
    steward.reinstall(console, service_flags.variables_of(args))
    return 0
