"""``install-plugin``: make ``docker model`` ours, for the ``docker`` client of this user."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

import runner
from runner.cli.console import Console
from runner.errors import Kind, RunnerError
from runner.places import clean

NAME = "docker-model"
MARK = "# Made by: runner install-plugin"
_START = quote(
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from runner.cli.plugin import main; sys.exit(main())"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--remove", action="store_true", help="take it away again")
    parser.add_argument(
        "-f", "--force", action="store_true", help="replace the plugin of another program"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the plugin, or remove it, and say where."""
    path = plugins_folder(console.env) / NAME
    owner = _owner(path)
    if owner == "other" and not args.force:
        raise RunnerError(
            Kind.CONFLICT,
            f"{path} belongs to another program, perhaps to Docker Model Runner",
            hint="with --force it is replaced",
        )
    if args.remove:
        path.unlink(missing_ok=True)
        console.say(f"Removed {path}." if owner else f"There is no {path}.")
        return 0
    _write(path, script(sys.executable, Path(runner.__file__).parents[1]))
    console.write(f"{path}\n")
    console.say("Now this works: docker model run")
    return 0


def plugins_folder(env: Mapping[str, str]) -> Path:
    """Return the folder where the ``docker`` client looks for a user's plugins."""
    if config := clean(env.get("DOCKER_CONFIG")):
        return Path(config) / "cli-plugins"
    if home := clean(env.get("HOME")):
        return Path(home) / ".docker" / "cli-plugins"
    raise RunnerError(Kind.USAGE, "neither HOME nor DOCKER_CONFIG says where Docker's settings are")


def script(python: str, folder: Path) -> str:
    """Return the program: this Python with this installation of ours.

    ``-P`` keeps the folder in which a user types ``docker`` out of what Python imports.
    """
    return f'#!/bin/sh\n{MARK}\nexec {quote(python)} -P -c {_START} {quote(str(folder))} "$@"\n'


def _owner(path: Path) -> str:
    """Say whose the plugin is that is there: ``ours``, ``other``, or empty for none."""
    try:
        with path.open("rb") as file:
            return "ours" if MARK.encode() in file.read(256) else "other"
    except FileNotFoundError:
        return "other" if path.is_symlink() else ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{NAME}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.chmod(0o755)
    scratch.replace(path)
