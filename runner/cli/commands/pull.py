"""``pull``: have the daemon bring a model into its store."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from runner.cli.background import reach
from runner.cli.console import Console
from runner.cli.display import Display, open_display
from runner.cli.output import printable
from runner.cli.parser import add_host
from runner.cli.remote import Remote, require_name
from runner.cli.transfer import perform
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
    last = pull(
        console, remote, args.model, chosen_display(args, console, f"Looking for {args.model}")
    )
    say_result(args, console, last)
    return 0


def pull(
    console: Console, remote: Remote, model: str, display: AbstractContextManager[Display]
) -> dict[str, Any]:
    """Pull a model and return the daemon's last event. Raises RunnerError, KeyboardInterrupt."""
    body = {"from": require_name(model)} | token_member(model, console.env)
    return perform(console, remote, "/models/create", body, display, again=f"runner pull {model}")


def chosen_display(
    args: argparse.Namespace, console: Console, what: str
) -> AbstractContextManager[Display]:
    """Open the display that the arguments of :func:`add_display` ask for."""
    return open_display(console, what, plain=console.out, quiet=args.quiet, as_json=args.json)


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
