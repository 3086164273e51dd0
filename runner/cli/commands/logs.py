"""``logs``: the daemon's log, from the daemon, or from its file when none answers."""

from __future__ import annotations

import argparse
import codecs

from runner.cli.console import Console
from runner.cli.output import printable_block
from runner.cli.parser import add_host
from runner.cli.remote import NoDaemon
from runner.cli.settings import read_settings
from runner.log_lines import EngineSieve

_FOLLOW_S = 24 * 3600.0  # a silent log is no fault


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    parser.add_argument(
        "--no-engines", action="store_true", help="leave out what the engines wrote"
    )
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the log; Ctrl-C ends following."""
    remote = console.remote(args.host)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        with remote.stream("GET", _path(args), timeout_s=_FOLLOW_S) as reply:
            for piece in reply:
                console.write(printable_block(decoder.decode(piece)))
    except NoDaemon as error:
        _print_file(console, error, without_engines=args.no_engines)
    return 0


def _path(args: argparse.Namespace) -> str:
    wishes = {"follow": args.follow, "no-engines": args.no_engines}
    query = "&".join(f"{name}=true" for name, is_wished in wishes.items() if is_wished)
    return f"/logs?{query}" if query else "/logs"


def _print_file(console: Console, error: NoDaemon, *, without_engines: bool) -> None:
    """Print what the last daemon here wrote: most wanted when it does not answer any more."""
    path = read_settings(console.env, {}).log_path
    if not path.exists():
        raise error
    console.say(f"{error.message}; this is what the last one wrote to {path}:")
    content = path.read_bytes()
    if without_engines:
        sieve = EngineSieve()
        content = sieve.feed(content) + sieve.finish()
    console.write(printable_block(content.decode("utf-8", "replace")))
