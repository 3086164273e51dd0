"""``pull``: have the daemon bring a model into its store."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, TextIO

from runner.cli.console import Console
from runner.cli.display import open_display
from runner.cli.launch import reach
from runner.cli.output import printable
from runner.cli.parser import add_host
from runner.cli.remote import LONG_REPLY_S, Remote
from runner.cli.transfer import follow
from runner.places import clean

HUB_PREFIXES = ("hf.co/", "huggingface.co/")
HUB_TOKEN_VARIABLE = "HF_TOKEN"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="NAME, ORG/NAME or HOST/ORG/NAME of a registry, with :TAG or @sha256:…; "
        "hf.co/ORG/REPO[:QUANT] of Hugging Face; package:NAME for the GGUF that an installed "
        "Python package ships",
    )
    add_display(parser)
    add_host(parser)


def add_display(parser: argparse.ArgumentParser) -> None:
    """Declare how progress is shown."""
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("-q", "--quiet", action="store_true", help="no progress, only the name")
    shown.add_argument("--json", action="store_true", help="the server's events, one a line")


def run(args: argparse.Namespace, console: Console) -> int:
    """Show progress, and then the daemon's last word on stdout."""
    remote = reach(console, args.host)
    last = pull(console, remote, args.model, plain=console.out, quiet=args.quiet, as_json=args.json)
    say_result(args, console, last)
    return 0


def pull(
    console: Console,
    remote: Remote,
    model: str,
    *,
    plain: TextIO,
    quiet: bool = False,
    as_json: bool = False,
) -> dict[str, Any]:
    """Pull a model and return the daemon's last event. Raises RunnerError, KeyboardInterrupt."""
    body = {"from": model} | token_member(model, console.env)
    what = f"Looking for {model}"
    try:
        with (
            open_display(console, what, plain=plain, quiet=quiet, as_json=as_json) as display,
            remote.stream("POST", "/models/create", body, timeout_s=LONG_REPLY_S) as reply,
        ):
            return follow(reply, display)
    except KeyboardInterrupt:
        console.say(f"Stopped. What has arrived is kept; to go on: runner pull {printable(model)}")
        raise


def say_result(args: argparse.Namespace, console: Console, last: dict[str, Any]) -> None:
    """Write the last word, in the form that was asked for."""
    if args.quiet:
        console.write(f"{args.model}\n")
    elif not args.json:
        console.write(f"{printable(str(last.get('message', '')))}\n")


def token_member(model: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return Hugging Face's token for a model of Hugging Face, and for no other."""
    token = clean(env.get(HUB_TOKEN_VARIABLE))
    is_hub = model.strip().lower().startswith(HUB_PREFIXES)
    return {"bearer-token": token} if token and is_hub else {}
