"""``python -m runner``, and the console script."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from runner.cli.main import main as obey


def main() -> NoReturn:
    """Obey the command line and leave with its exit code.

    The process ends without taking the interpreter apart, which costs half of what starting it
    does and is felt at every ``list``; whatever a command opened, it has closed (mypy does so too).
    """
    code = obey()
    with suppress(OSError):  # a reader that has left
        sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
