"""``context``: names for servers, and which one is asked; the file is Docker Model Runner's."""

from __future__ import annotations

import argparse
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.cli.commands.show import render_time
from runner.cli.console import Console
from runner.cli.contexts import (
    DEFAULT,
    LOCK_NAME,
    Contexts,
    contexts_folder,
    read_contexts,
    write_contexts,
)
from runner.cli.endpoint import HOST_VARIABLE, parse_endpoint
from runner.cli.output import printable, render_json, render_table
from runner.cli.trust import Trust, Wish
from runner.errors import Kind, RunnerError
from runner.places import clean

HEADER = ("NAME", "HOST", "DESCRIPTION", "CURRENT")
AUTOMATIC = "(auto-detect)"
ACTIONS = ("create", "use", "ls", "rm", "inspect")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=ACTIONS, metavar="|".join(ACTIONS))
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: the server found here")
    parser.add_argument("--host", metavar="URL", help="of create: http(s)://HOST:PORT or unix:PATH")
    parser.add_argument("--description", default="", metavar="TEXT", help="of create")
    parser.add_argument("--tls", action="store_true", help="of create: speak TLS to it")
    parser.add_argument(
        "--tls-ca-cert", default="", metavar="FILE", help="of create: trust these authorities alone"
    )
    parser.add_argument(
        "--tls-skip-verify", action="store_true", help="of create: trust whoever answers there"
    )
    parser.add_argument("--json", action="store_true", help="of ls: the contexts as JSON")


def run(args: argparse.Namespace, console: Console) -> int:
    """Read or change the contexts."""
    if args.action == "ls":
        contexts = read_contexts(console.env)
        console.write(render_list(contexts, is_json=args.json))
        if host := clean(console.env.get(HOST_VARIABLE)):
            console.say(f"{HOST_VARIABLE} is set, and wins: {printable(host)}")
        return 0
    if args.action == "inspect":
        contexts = read_contexts(console.env)
        console.write(render_json([describe(contexts, name) for name in _names(args)]))
        return 0
    with changing(console) as contexts:
        for name in _names(args):
            contexts, said = change(contexts, name, args, console.now_s())
            write_contexts(console.env, contexts)
            console.write(f"{said}\n")
    return 0


def change(
    contexts: Contexts, name: str, args: argparse.Namespace, now_s: float
) -> tuple[Contexts, str]:
    """Carry out create, use or rm for one name; what came of it, and what to say."""
    match args.action:
        case "create":
            return contexts.with_new(name, build(args, now_s)), f'Context "{name}" created.'
        case "use":
            return contexts.using(name), f'Current context is now "{name}".'
        case _:
            return contexts.without(name), f'Context "{name}" removed.'


def build(args: argparse.Namespace, now_s: float) -> dict[str, Any]:
    """Build the members of a new context."""
    if not args.host:
        raise RunnerError(Kind.USAGE, "--host is required")
    authorities = _absolute(args.tls_ca_cert)
    wish = Wish(args.tls, Trust(authorities, args.tls_skip_verify))
    is_tls = parse_endpoint(args.host, "--host", wish).is_tls
    if not is_tls and wish != Wish():
        raise RunnerError(
            Kind.USAGE,
            "--tls-ca-cert and --tls-skip-verify are for TLS, which this server does not speak",
            hint="add --tls, or name it https://HOST:PORT",
        )
    tls: dict[str, Any] = {"enabled": is_tls, "skipVerify": args.tls_skip_verify}
    if authorities:
        tls["caCert"] = authorities
    return {
        "host": args.host,
        "tls": tls,
        "description": args.description,
        "createdAt": render_time(int(now_s)),
    }


def _absolute(path: str) -> str:
    """Return where a file is that must be there, whatever folder a later command runs in."""
    if path and not Path(path).is_file():
        raise RunnerError(Kind.USAGE, f"--tls-ca-cert: there is no file {path}")
    return str(Path(path).absolute()) if path else ""


def describe(contexts: Contexts, name: str) -> dict[str, Any]:
    """Return one context with its name, as ``inspect`` shows it."""
    if name == DEFAULT:
        return {"name": DEFAULT, "description": "Auto-detected Docker context"}
    return {"name": name, **contexts.find(name)}


def render_list(contexts: Contexts, *, is_json: bool) -> str:
    """Render all, the automatic one first."""
    names = [DEFAULT, *sorted(contexts.contexts)]
    described = [describe(contexts, name) for name in names]
    if is_json:
        return render_json(
            [{**one, "current": one["name"] == contexts.current} for one in described]
        )
    rows = [
        [
            one["name"],
            str(one.get("host", AUTOMATIC)),
            str(one.get("description", "")),
            "*" if one["name"] == contexts.current else "",
        ]
        for one in described
    ]
    return render_table(HEADER, rows)


@contextmanager
def changing(console: Console) -> Iterator[Contexts]:
    """Give the contexts while no other program changes them."""
    folder = contexts_folder(console.env)
    if folder is None:
        raise RunnerError(Kind.USAGE, "neither HOME nor DOCKER_CONFIG says where contexts are kept")
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    with (Path(folder) / LOCK_NAME).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read_contexts(console.env)


def _names(args: argparse.Namespace) -> list[str]:
    """Return the names; RunnerError(USAGE) for too few, or too many."""
    names: list[str] = args.names
    is_many = args.action in ("rm", "inspect")
    if not names or (len(names) > 1 and not is_many):
        wanted = "at least 1 argument" if is_many else "1 argument"
        raise RunnerError(Kind.USAGE, f"context {args.action} requires {wanted}")
    return names
