"""``import``: take models over from other programs, or from files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.cli.chores import follow
from runner.cli.commands.package import describe_model, package
from runner.cli.console import Console
from runner.cli.output import (
    decimal_size,
    display_name,
    printable,
    render_json,
    render_table,
)
from runner.cli.parser import add_host
from runner.errors import Kind, RunnerError
from runner.places import clean

PROGRAMS = ("dmr", "ollama", "hf")
OF_ONE_MODEL = (Kind.INVALID_MODEL, Kind.INTEGRITY)  # what speaks against no other model
HEADER = ("MODEL NAME", "SIZE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--from",
        dest="program",
        choices=PROGRAMS,
        help="Docker Model Runner, Ollama, or the cache of Hugging Face's libraries",
    )
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="a model of that program, or without --from a GGUF file; without any: list them",
    )
    parser.add_argument("--all", action="store_true", help="every model that is there")
    parser.add_argument("--as", dest="target", metavar="NAME", help="what to call the one MODEL")
    parser.add_argument("--path", metavar="DIR", help="the program's folder, if it is another")
    parser.add_argument(
        "--json", action="store_true", help="the list, or the models that came, as JSON"
    )
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """List what is there, or import one model after the other."""
    if args.target and len(args.models) != 1:
        raise RunnerError(Kind.USAGE, "--as names one model", hint="import them one by one")
    if args.program is None:
        return _import_files(args, console)
    request = {"from": args.program, "path": str(_folder(args, console.env))}
    names = args.models
    if not names:
        found = console.remote(args.host).call("POST", "/models/import", request)
        if not args.all:
            rows = [[display_name(each["names"][0]), decimal_size(each["size"])] for each in found]
            console.write(render_json(found) if args.json else render_table(HEADER, rows))
            return 0
        names = [each["names"][0] for each in found]
    models = _import_models(args, console, request, names)
    came = console.write_each(models, describe_model, as_json=args.json)
    return 0 if came == len(names) else 1


def _import_models(
    args: argparse.Namespace, console: Console, request: dict[str, str], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield each model that came; with ``--all``, what speaks against one leaves it out."""
    for name in names:
        body = request | {"name": name} | ({"target": args.target} if args.target else {})
        try:
            yield follow(console, args.host, "/models/import", body, what=f"{name}: hashed")
        except RunnerError as error:
            if not args.all or error.kind not in OF_ONE_MODEL:
                raise
            console.say(f"Left out {printable(display_name(name))}: {printable(str(error))}")


def _import_files(args: argparse.Namespace, console: Console) -> int:
    """Add GGUF files of this machine, each under its own name unless ``--as`` has another."""
    if not args.models:
        raise RunnerError(
            Kind.USAGE, "nothing to import", hint="give --from PROGRAM, or the path of a GGUF file"
        )
    paths = [Path(model).expanduser().absolute() for model in args.models]
    if missing := [path for path in paths if not path.is_file()]:
        raise RunnerError(
            Kind.USAGE, f"there is no file {missing[0]}", hint="or name its program with --from"
        )
    remote = console.remote(args.host)
    models = (
        package(console, remote, {"gguf": str(path), "name": args.target or file_name(path)})
        for path in paths
    )
    console.write_each(models, describe_model, as_json=args.json)
    return 0


def file_name(path: Path) -> str:
    """Make a model's name of a file's: ``SmolLM2 (Q4).gguf`` is ``smollm2-q4``. Pure."""
    shard = re.sub(r"-\d{5}-of-\d{5}$", "", path.stem)
    return re.sub(r"[^a-z0-9]+", "-", shard.lower()).strip("-") or "model"


def _folder(args: argparse.Namespace, env: Mapping[str, str]) -> Path:
    """Return the folder as the daemon must be told it: it stands elsewhere."""
    folder = Path(args.path) if args.path else default_folder(args.program, env)
    return folder.expanduser().resolve()


def default_folder(program: str, env: Mapping[str, str]) -> Path:
    """Return where a program keeps its models unless it was told otherwise. Pure."""
    home = Path(clean(env.get("HOME")) or "~")
    if program == "dmr":
        return home / ".docker" / "models"
    if program == "ollama":
        return Path(clean(env.get("OLLAMA_MODELS")) or home / ".ollama" / "models")
    if cache := clean(env.get("HF_HUB_CACHE")) or clean(env.get("HUGGINGFACE_HUB_CACHE")):
        return Path(cache)
    hub_home = clean(env.get("HF_HOME"))
    cache_home = Path(clean(env.get("XDG_CACHE_HOME")) or home / ".cache")
    return (Path(hub_home) if hub_home else cache_home / "huggingface") / "hub"
