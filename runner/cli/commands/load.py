"""``load``: store the models of a tar archive."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from runner.cli.commands.package import describe_model
from runner.cli.commands.save import archive_event
from runner.cli.console import Console
from runner.cli.display import Display, open_display
from runner.cli.output import render_json, short_id
from runner.cli.parser import add_host
from runner.cli.remote import LONG_REPLY_S
from runner.cli.transfer import follow
from runner.errors import Kind, RunnerError

PIECE_BYTES = 1024 * 1024


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-i",
        "--input",
        metavar="FILE",
        help="read FILE (default: stdin); Docker Model Runner's archives and OCI image layouts, "
        "as runner save, docker model package and skopeo write them",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only the ids")
    parser.add_argument("--json", action="store_true", help="the models as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Send the archive, and print the names and ids of its models."""
    remote = console.remote(args.host)
    with (
        open_source(args.input) as (file, size_bytes),
        open_display(console, "Loading", plain=console.err, quiet=args.quiet) as display,
        remote.stream(
            "POST",
            "/models/load",
            _pieces(file, size_bytes, display),
            timeout_s=LONG_REPLY_S,
        ) as reply,
    ):
        last = follow(reply, display)
    models = last.get("models", [])
    if args.json:
        console.write(render_json(models))
        return 0
    for model in models:
        console.write(f"{short_id(model['id'])}\n" if args.quiet else describe_model(model))
    return 0


@contextmanager
def open_source(name: str | None) -> Iterator[tuple[IO[bytes], int]]:
    """Open the archive; its size is 0 when nobody knows."""
    if name is not None:
        with Path(name).open("rb") as file:
            yield file, _size(file)
    elif sys.stdin.isatty():
        raise RunnerError(
            Kind.USAGE, "an archive does not come from a terminal", hint="redirect it, or -i FILE"
        )
    else:
        yield sys.stdin.buffer, _size(sys.stdin.buffer)


def _size(file: IO[bytes]) -> int:
    facts = os.fstat(file.fileno())
    return facts.st_size if stat.S_ISREG(facts.st_mode) else 0


def _pieces(file: IO[bytes], size_bytes: int, display: Display) -> Iterator[bytes]:
    done_bytes = 0
    while piece := file.read(PIECE_BYTES):
        yield piece
        done_bytes += len(piece)
        display.show(archive_event("load", done_bytes, size_bytes))
