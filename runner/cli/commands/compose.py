"""``compose``: what Docker Compose asks of the provider of a service (``provider: type: model``).

Compose runs ``docker-model compose metadata`` and then ``up`` or ``down`` with the options of the
service, and reads one JSON object a line: ``info`` is shown, ``error`` ends it, ``setenv`` goes to
the services that depend on this one (docker/compose, ``docs/extension.md``).
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runner.cli.background import reach
from runner.cli.commands.pull import pull
from runner.cli.console import Console
from runner.cli.display import Display, PlainLines
from runner.cli.endpoint import container_address, explicit_endpoint, find_endpoints, tcp_address
from runner.cli.output import one_line
from runner.cli.parser import add_host
from runner.cli.remote import Remote, model_path
from runner.errors import Kind, RunnerError

ACTIONS = ("metadata", "up", "down", "stop")

# Name, type, default and words of each option; Compose passes on those alone.
PARAMETERS = (
    ("backend", "string", "llama.cpp", "inference backend; there is one"),
    ("context-size", "int64", "-1", "tokens that one conversation may hold"),
    ("model", "stringArray", "[]", "models to use"),
    ("runtime-flags", "string", "", "flags of the engine"),
    ("speculative-draft-model", "string", "", "small model that guesses"),
    ("speculative-min-acceptance-rate", "float64", "0", "share of guesses that must be right"),
    ("speculative-num-tokens", "int", "0", "tokens guessed at a time"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments, as Compose gives them."""
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("service", nargs="?", default="", help="as the project calls it")
    parser.add_argument("--project-name", default="")
    parser.add_argument("--model", action="append", default=[], dest="models")
    parser.add_argument("--context-size", type=int, default=-1)
    parser.add_argument("--runtime-flags", default="")
    parser.add_argument("--speculative-draft-model", default="")
    parser.add_argument("--speculative-num-tokens", type=int, default=0)
    parser.add_argument("--speculative-min-acceptance-rate", type=float, default=0.0)
    parser.add_argument("--backend", default="", help=argparse.SUPPRESS)
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Do what Compose asks; an error is a line of JSON, too."""
    if args.action == "metadata":
        console.write(json.dumps(metadata()))
        return 0
    if args.action != "up":
        return 0  # the models stay for others, and leave memory when nobody uses them
    try:
        _bring_up(args, console)
    except RunnerError as error:
        _tell(console, "error", one_line(error))
        return 1
    return 0


def metadata() -> dict[str, Any]:
    """Describe the options of ``up``; all defaults are text."""
    parameters = [
        {
            "name": name,
            "description": words,
            "required": name == "model",
            "type": kind,
            **({"default": default} if default else {}),
        }
        for name, kind, default, words in PARAMETERS
    ]
    return {
        "description": "Language models on your own machine",
        "up": {"parameters": parameters},
        "down": {"parameters": None},
    }


def settings_of(args: argparse.Namespace, model: str) -> dict[str, Any]:
    """Return what is configured of a model: the body of ``POST /engines/_configure``."""
    body: dict[str, Any] = {"model": model, "source": "compose"}
    if args.context_size > 0:
        body["context-size"] = args.context_size
    if args.runtime_flags:
        body["runtime-flags"] = shlex.split(args.runtime_flags)
    if args.speculative_draft_model:
        body["speculative"] = {
            "draft_model": args.speculative_draft_model,
            "num_tokens": args.speculative_num_tokens,
            "min_acceptance_rate": args.speculative_min_acceptance_rate,
        }
    return body


def describe_settings(args: argparse.Namespace) -> list[str]:
    """Say what the service asks of the engine, in Docker's words."""
    told = []
    if args.context_size > 0:
        told.append(f"Setting context size to {args.context_size}")
    if args.runtime_flags:
        told.append(f"Setting raw runtime flags to {args.runtime_flags}")
    if args.speculative_draft_model:
        draft = args.speculative_draft_model
        told.append(f"Enabling speculative decoding with draft model: {draft}")
    return told


def _bring_up(args: argparse.Namespace, console: Console) -> None:
    if not args.models:
        raise RunnerError(
            Kind.USAGE, "the service names no model", hint="provider: {options: {model: ai/…}}"
        )
    _tell(console, "info", "Initializing model runner...")
    remote = reach(console, args.host, containers=True)
    for model in args.models:
        if not _is_stored(remote, model):
            pull(console, remote, model, _progress(console))
    _tell(console, "setenv", f"MODEL={','.join(args.models)}")
    for wish in describe_settings(args):
        _tell(console, "info", wish)
    for model in args.models:
        remote.call("POST", "/engines/_configure", settings_of(args, model))
        _tell(console, "info", f"Successfully configured backend for model {model}")
    own = tcp_address(remote.endpoint, find_endpoints(console.env, args.host))
    outer = container_address(console.env, args.host, own)
    if outer == own and explicit_endpoint(console.env, args.host) is None:
        _tell(
            console,
            "info",
            f"Containers do not reach {own}: start the server with runner serve --containers",
        )
    _tell(console, "setenv", f"URL={outer}/engines/v1/")


def _is_stored(remote: Remote, model: str) -> bool:
    try:
        remote.call("GET", model_path(model))
    except RunnerError as error:
        if error.kind is not Kind.MODEL_NOT_FOUND:
            raise
        return False
    return True


@contextmanager
def _progress(console: Console) -> Iterator[Display]:
    yield PlainLines(console, lambda line: _tell(console, "info", line))


def _tell(console: Console, kind: str, message: str) -> None:
    console.write(json.dumps({"type": kind, "message": message}) + "\n")
