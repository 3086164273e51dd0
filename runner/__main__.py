"""``python -m runner``, and the console script."""

from __future__ import annotations

from runner.cli.loading import load


def main() -> None:
    """Obey the command line and leave with its exit code; never returns."""
    commands = load("runner.cli.main")
    commands.leave(commands.main())


if __name__ == "__main__":
    main()
