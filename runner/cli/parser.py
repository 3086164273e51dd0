"""argparse with our manners: a usage error is a RunnerError of one line, exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, NoReturn

from runner.errors import Kind, RunnerError

PROGRAM = "runner"


class Parser(argparse.ArgumentParser):
    """Parser of one command's arguments."""

    def __init__(self, command: str, summary: str) -> None:
        super().__init__(
            prog=f"{PROGRAM} {command}",
            description=summary[:1].upper() + summary[1:] + ".",
            formatter_class=_formatter,
            allow_abbrev=False,
        )
        self._command = command

    def declared(self) -> list[argparse.Action]:
        """Return the arguments in the order of their declaration."""
        return self._actions

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise RunnerError(Kind.USAGE, message, hint=f"see: python -m runner {self._command} --help")


def refuse(parser: argparse.ArgumentParser, flag: str, why: str) -> None:
    """Declare a flag of Docker Model Runner's that makes no sense here; ``why`` says what does."""
    parser.add_argument(flag, action=_Refusal, nargs="?", const=why, help=argparse.SUPPRESS)


class _Refusal(argparse.Action):
    """Ends with the reason, whatever value the flag has."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.error(f"{self.option_strings[0]}: {self.const}")


def add_host(parser: argparse.ArgumentParser) -> None:
    """Declare ``--host``, which says where the daemon is."""
    parser.add_argument(
        "--host",
        metavar="URL",
        help="where the server is: http(s)://HOST:PORT or unix:PATH (default: $MODEL_RUNNER_HOST, "
        "else the context's, else the one running here)",
    )


def add_openai_url(parser: argparse.ArgumentParser) -> None:
    """Declare ``--openaiurl``, which names another server than ours."""
    parser.add_argument(
        "--openaiurl",
        metavar="URL",
        help="ask another server with OpenAI's API, such as http://localhost:11434/v1; "
        "its key is $OPENAI_API_KEY",
    )


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Format help for this terminal's width, which argparse would import shutil to find."""
    try:
        width = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        width = 0
    return argparse.HelpFormatter(prog, width=max(width - 2, 78))
