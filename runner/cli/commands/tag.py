"""``tag``: give a stored model another name."""

from __future__ import annotations

import argparse

from runner.cli.console import Console
from runner.cli.output import printable_block, render_json
from runner.cli.parser import add_host
from runner.cli.remote import model_path, percent_encode


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="SOURCE", help="a stored model")
    parser.add_argument("target", metavar="TARGET", help="the name to add, as NAME or NAME:TAG")
    parser.add_argument("--json", action="store_true", help="the server's answer, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Add the name."""
    repository, tag = split_target(args.target)
    query = f"repo={percent_encode(repository)}&tag={percent_encode(tag)}"
    remote = console.remote(args.host)
    tagged = remote.call("POST", f"{model_path(args.source)}/tag?{query}", {})
    names = f'Model "{args.source}" tagged successfully with "{args.target}"\n'
    console.write(render_json(tagged) if args.json else printable_block(names))
    return 0


def split_target(target: str) -> tuple[str, str]:
    """Split a name into repository and tag: the colon after the last slash, else ``latest``."""
    folder, slash, last = target.rpartition("/")
    name, _, tag = last.partition(":")
    return folder + slash + name, tag or "latest"
