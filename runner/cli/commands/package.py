"""``package``: add a GGUF file of this machine to the store as a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from runner.cli.console import Console
from runner.cli.output import display_name, printable, short_id
from runner.cli.parser import add_host
from runner.cli.progress import waiting
from runner.cli.remote import LONG_REPLY_S
from runner.errors import Kind, RunnerError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="what to call the model, as NAME or NAME:TAG")
    parser.add_argument("--gguf", required=True, metavar="FILE", help="the weights")
    parser.add_argument(
        "-l", "--license", action="append", default=[], metavar="FILE", help="may be repeated"
    )
    parser.add_argument(
        "--chat-template", metavar="FILE", help="Jinja text instead of the one in the weights"
    )
    parser.add_argument("--context-size", type=int, metavar="N", help="tokens to load it with")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Have the daemon store the files, and print the model's id."""
    request: dict[str, Any] = {
        "gguf": _path(args.gguf),
        "name": args.name,
        "licenses": [_path(license) for license in args.license],
        "chat_template": _path(args.chat_template) if args.chat_template else None,
        "context_size": args.context_size,
    }
    wanted = {member: value for member, value in request.items() if value not in (None, [])}
    remote = console.remote(args.host)
    with waiting(console.err, f"Adding {Path(args.gguf).name} to the store"):
        model = remote.call("POST", "/models/package", wanted, timeout_s=LONG_REPLY_S)
    names = ", ".join(display_name(tag) for tag in model["tags"])
    console.write(f"{printable(names)} {short_id(model['id'])}\n")
    return 0


def _path(text: str) -> str:
    """Return the absolute path of a file that must be there: the daemon has another folder."""
    path = Path(text).expanduser()
    if not path.is_file():
        raise RunnerError(Kind.USAGE, f"there is no file {text}")
    return str(path.absolute())
