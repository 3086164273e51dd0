"""``package``: make a model of files of this machine, or of a stored model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.cli.commands.push import push
from runner.cli.console import Console
from runner.cli.display import open_display
from runner.cli.output import UNTAGGED, display_name, printable, render_json, short_id
from runner.cli.parser import add_host, refuse
from runner.cli.remote import Remote
from runner.cli.transfer import perform
from runner.errors import Kind, RunnerError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="what to call the model, as NAME or NAME:TAG")
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument("--gguf", metavar="FILE", help="the weights; one shard stands for all")
    sources.add_argument(
        "--safetensors-dir", metavar="DIR", help="a folder with safetensors and configs"
    )
    refuse(parser, "--dduf", "there is no engine here for models that make images")
    sources.add_argument(
        "--from", dest="from_model", metavar="MODEL", help="a stored model; its files are shared"
    )
    parser.add_argument(
        "-l", "--license", action="append", default=[], metavar="FILE", help="may be repeated"
    )
    parser.add_argument(
        "--chat-template", metavar="FILE", help="Jinja text instead of the one in the weights"
    )
    parser.add_argument("--mmproj", metavar="FILE", help="multimodal projector, a GGUF file")
    parser.add_argument(
        "--lora", action="append", default=[], metavar="FILE", help="adapter, a GGUF file"
    )
    parser.add_argument("--context-size", type=int, metavar="N", help="tokens to load it with")
    parser.add_argument(
        "--format", choices=("docker", "cncf"), help="form of the artifact (default: docker)"
    )
    parser.add_argument("--push", action="store_true", help="then push it to its registry")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="the model as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Have the daemon store the files, and print the model's id."""
    wanted: dict[str, Any] = {
        "name": args.name,
        "gguf": _path(args.gguf),
        "safetensors_dir": _path(args.safetensors_dir, is_folder=True),
        "from": args.from_model,
        "licenses": [_path(file) for file in args.license],
        "chat_template": _path(args.chat_template),
        "mmproj": _path(args.mmproj),
        "loras": [_path(file) for file in args.lora],
        "context_size": args.context_size,
        "format": args.format,
    }
    request = {member: value for member, value in wanted.items() if value not in (None, [])}
    remote = console.remote(args.host)
    model = package(console, remote, request, quiet=args.quiet)
    console.write(render_json(model) if args.json else describe_model(model))
    if args.push:
        display = open_display(console, f"Pushing {args.name}", plain=console.err, quiet=args.quiet)
        push(console, remote, args.name, display)
        console.say("Model pushed successfully")
    return 0


def describe_model(model: Mapping[str, Any]) -> str:
    """Tell the names and the id of a model that was stored, in a line."""
    names = ", ".join(map(display_name, model["tags"])) or UNTAGGED
    return f"{printable(names)} {short_id(model['id'])}\n"


def package(
    console: Console, remote: Remote, request: dict[str, Any], *, quiet: bool = False
) -> dict[str, Any]:
    """Have a model made and return it; progress goes to stderr."""
    what = f"Adding {request['name']} to the store"
    display = open_display(console, what, plain=console.err, quiet=quiet)
    last = perform(console, remote, "/models/package", request, display)
    model: dict[str, Any] = last["models"][0]
    return model


def _path(text: str | None, *, is_folder: bool = False) -> str | None:
    """Return the absolute path of a file that must be there: the daemon has another folder."""
    if text is None:
        return None
    path = Path(text).expanduser()
    if not (path.is_dir() if is_folder else path.is_file()):
        raise RunnerError(Kind.USAGE, f"there is no {'folder' if is_folder else 'file'} {text}")
    return str(path.absolute())
