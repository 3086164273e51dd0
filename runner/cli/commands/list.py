"""``list``: the models in the store, one row a tag."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from runner.cli.console import Console
from runner.cli.foreign import Foreign, connect_foreign
from runner.cli.output import UNTAGGED, age, display_name, render_json, render_table, short_id
from runner.cli.parser import add_host, add_openai_url
from runner.errors import Kind, RunnerError

HEADER = (
    "MODEL NAME",
    "PARAMETERS",
    "QUANTIZATION",
    "ARCHITECTURE",
    "MODEL ID",
    "CREATED",
    "CONTEXT",
    "SIZE",
)
FOREIGN_HEADER = ("MODEL NAME", "CREATED")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="only models of this name")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the models as JSON")
    form.add_argument("--openai", action="store_true", help="OpenAI's list of models, as JSON")
    form.add_argument("-q", "--quiet", action="store_true", help="only the short ids")
    add_openai_url(parser)
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the table, or what was asked for instead."""
    if args.openaiurl:
        return _list_foreign(args, console)
    remote = console.remote(args.host)
    if args.openai:
        console.write(render_json(remote.call("GET", "/v1/models")))
        return 0
    models = remote.call("GET", "/models")
    if args.model:
        models = [model for model in models if matches(model, args.model)]
    if args.json:
        console.write(render_json(models))
    elif args.quiet:
        console.write("".join(f"{short_id(model['id'])}\n" for model in models))
    else:
        console.write(render_table(HEADER, rows(models, console.now_s())))
    return 0


def _list_foreign(args: argparse.Namespace, console: Console) -> int:
    answer = connect_foreign(args.openaiurl, console.env).call("GET", "/v1/models")
    models = foreign_models(answer)
    if args.model:
        models = [model for model in models if model["id"] == args.model]
    if args.json or args.openai:
        console.write(render_json(answer | {"data": models}))
    elif args.quiet:
        console.write("".join(f"{model['id']}\n" for model in models))
    else:
        now_s = console.now_s()
        table = sorted([model["id"], _foreign_ago(model, now_s)] for model in models)
        console.write(render_table(FOREIGN_HEADER, table))
    return 0


def foreign_models(answer: Any) -> list[dict[str, Any]]:
    """Return the models of OpenAI's list; raise UNAVAILABLE for what is none."""
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list) or not all(
        isinstance(model, dict) and isinstance(model.get("id"), str) for model in models
    ):
        raise RunnerError(
            Kind.UNAVAILABLE,
            "the server's answer is no list of models",
            hint=Foreign.absent_hint,
        )
    return models


def _foreign_ago(model: dict[str, Any], now_s: float) -> str:
    created_s = model.get("created")
    return _ago(created_s, now_s) if isinstance(created_s, int | float) else ""


def _ago(created_s: float | None, now_s: float) -> str:
    return f"{age(max(0.0, now_s - created_s))} ago" if created_s else ""


def matches(model: dict[str, Any], wanted: str) -> bool:
    """Whether a model has a tag that the wanted name means, or that id.

    Without a tag the name means any tag, and without a slash any owner.
    """
    return wanted in (model["id"], short_id(model["id"])) or any(
        display_name(wanted) in _names(display_name(tag)) for tag in model.get("tags", [])
    )


def _names(shown: str) -> set[str]:
    last = shown.rpartition("/")[2]
    return {shown, _split_tag(shown)[0], last, _split_tag(last)[0]}


def rows(models: Sequence[dict[str, Any]], now_s: float) -> list[list[str]]:
    """Return the table's rows, sorted by name without case, the bare name before its variants."""
    return sorted(_rows(models, now_s), key=lambda row: _sort_key(row[0]))


def _rows(models: Sequence[dict[str, Any]], now_s: float) -> Iterator[list[str]]:
    for model in models:
        config = model.get("config", {})
        context = config.get("context_size") or _trained_context(config.get("gguf", {}))
        created = model.get("created")
        for tag in model.get("tags") or [UNTAGGED]:
            yield [
                display_name(tag),
                config.get("parameters", ""),
                config.get("quantization", ""),
                config.get("architecture", ""),
                short_id(model["id"]),
                _ago(created, now_s),
                str(context or ""),
                config.get("size", ""),
            ]


def _trained_context(metadata: dict[str, str]) -> str:
    """Return the context length of the GGUF's own metadata: the key has the architecture's name."""
    architecture = metadata.get("general.architecture", "llama")
    return metadata.get(f"{architecture}.context_length", "")


def _sort_key(name: str) -> tuple[str, str]:
    base, variant = _split_tag(name)
    return base.lower(), variant


def _split_tag(name: str) -> tuple[str, str]:
    base, colon, tag = name.rpartition(":")
    return (base, tag) if colon and "/" not in tag else (name, "")
