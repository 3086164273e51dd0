"""``save``: write a stored model to a tar archive."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from runner.cli.console import Console
from runner.cli.display import open_display
from runner.cli.parser import add_host
from runner.cli.remote import LONG_REPLY_S, model_path
from runner.errors import Kind, RunnerError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL", help="a stored model")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write to FILE (default: stdout, if redirected)"
    )
    parser.add_argument(
        "--layout",
        choices=("docker", "oci"),
        default="docker",
        help="docker: what Docker Model Runner loads (default); "
        "oci: an image layout with its name, which skopeo and oras read",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the archive; a file appears under its name only when it is whole."""
    path = f"{model_path(args.model)}/export?layout={args.layout}"
    remote = console.remote(args.host)
    if args.output is None and sys.stdout.isatty():
        raise RunnerError(
            Kind.USAGE, "an archive is nothing for a terminal", hint="redirect it, or give -o FILE"
        )
    with ExitStack() as stack:
        reply = stack.enter_context(remote.stream("GET", path, timeout_s=LONG_REPLY_S))
        file = stack.enter_context(open_target(args.output))
        display = stack.enter_context(
            open_display(console, f"Saving {args.model}", plain=console.err, quiet=args.quiet)
        )
        done_bytes = 0
        for piece in reply:
            file.write(piece)
            done_bytes += len(piece)
            display.show(archive_event("save", done_bytes, 0))
    return 0


def archive_event(mode: str, done_bytes: int, total_bytes: int) -> dict[str, object]:
    """Tell how much of an archive has passed, as events of a transfer do; 0: of unknown size."""
    layer = {"id": "archive", "size": total_bytes, "current": done_bytes}
    return {"type": "progress", "total": total_bytes, "layer": layer, "mode": mode}


@contextmanager
def open_target(output: str | None) -> Iterator[IO[bytes]]:
    """Open a file that gets its name at the end, or stdout."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output).absolute()
    if path.is_dir():
        raise RunnerError(Kind.USAGE, f"{output} is a folder", hint="add the name of a file")
    if not path.parent.is_dir():
        raise RunnerError(Kind.USAGE, f"there is no folder {path.parent}", hint="make it first")
    scratch = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with scratch.open("xb") as file:
            yield file
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
