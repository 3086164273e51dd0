"""``configure``: set how one model is run, for good; ``configure show`` tells what is set."""

from __future__ import annotations

import argparse
import json
from typing import Any

from runner.cli.console import Console
from runner.cli.output import printable, render_json, render_table
from runner.cli.parser import add_host
from runner.cli.remote import Remote, model_path, percent_encode
from runner.cli.settings import effective, render_effective
from runner.errors import Kind, RunnerError

PATH = "/engines/_configure"
MODES = ("completion", "embedding", "reranking")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="MODEL [-- FLAG...]",
        help="a model, and after -- flags as llama-server has them: --temp 0.2; or: show [MODEL]; "
        "without any: the server's own settings, as a configuration file",
    )
    parser.add_argument(
        "--context-size", type=int, metavar="N", help="tokens that one conversation may hold"
    )
    parser.add_argument("--keep-alive", metavar="TIME", help="idle time to unloading: 30m, 0, -1")
    parser.add_argument(
        "--speculative-draft-model", metavar="MODEL", help="small stored model that guesses"
    )
    for flag, kind, metavar, text in (
        ("--speculative-num-tokens", int, "N", "tokens guessed at a time; here: as many as pay"),
        ("--speculative-min-acceptance-rate", _share, "SHARE", "0 to 1; here: as low as pays"),
        ("--gpu-memory-utilization", _share, "SHARE", "0 to 1, for servers that have vLLM"),
        ("--hf_overrides", _members, "JSON", "for servers that have vLLM"),
    ):
        parser.add_argument(flag, type=kind, metavar=metavar, help=text)
    parser.add_argument(
        "--think",
        nargs="?",
        const="true",
        choices=("true", "false"),
        help="whether it thinks before it answers, where it can (default: true)",
    )
    parser.add_argument(
        "--mode", choices=MODES, help="what the model is for; here its own header says it"
    )
    parser.add_argument(
        "--unset", action="append", default=[], metavar="NAME", help="forget one: context_size"
    )
    parser.add_argument("--reset", action="store_true", help="forget all that is set")
    parser.add_argument("--json", action="store_true", help="each with its origin, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Change what is kept, and print what rules now."""
    if not args.words:
        own = effective(console.env)
        rows = [dict(zip(("name", "value", "origin"), row, strict=True)) for row in own]
        console.write(render_json(rows) if args.json else render_effective(own))
        return 0
    remote = console.remote(args.host)
    model, *flags = args.words
    if model == "show":
        if len(flags) > 1:
            raise RunnerError(Kind.USAGE, "configure show takes one model at most")
        console.write(render_json(remote.call("GET", _path(*flags))))
        return 0
    if args.reset:
        remote.call("DELETE", _path(model))
    else:
        with remote.stream("POST", PATH, _change(model, flags, args)) as reply:
            ignored = reply.headers.get("x-ignored-fields")
        if ignored:
            console.say(f"Without effect on this server: {printable(ignored)}")
    if (ruling := _find_ruling(remote, model)) is None:
        console.say(f"{printable(model)} is not stored; this is kept for it.")
    if args.json:
        console.write(render_json(ruling or []))
    elif ruling is not None:
        console.write(render_settings(ruling))
    return 0


def render_settings(rows: list[dict[str, Any]]) -> str:
    """Lay out each value with who said so."""
    cells = [[row["name"], render_value(row["value"]), row["origin"]] for row in rows]
    return render_table(("SETTING", "VALUE", "ORIGIN"), cells)


def render_value(value: Any) -> str:
    """Write a setting's value as one types it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return printable(str(value))


def _change(model: str, flags: list[str], args: argparse.Namespace) -> dict[str, Any]:
    change: dict[str, Any] = {"model": model}
    if args.context_size is not None:
        change["context-size"] = args.context_size
    if args.keep_alive is not None:
        change["keep_alive"] = args.keep_alive
    guessing = {
        "draft_model": args.speculative_draft_model,
        "num_tokens": args.speculative_num_tokens,
        "min_acceptance_rate": args.speculative_min_acceptance_rate,
    }
    vllm = {
        "hf-overrides": args.hf_overrides,
        "gpu-memory-utilization": args.gpu_memory_utilization,
    }
    for name, members in (("speculative", guessing), ("vllm", vllm)):
        if stated := {each: value for each, value in members.items() if value is not None}:
            change[name] = stated
    if args.mode is not None:
        change["mode"] = args.mode
    if args.think is not None:
        change["llamacpp"] = {"reasoning-budget": -1 if args.think == "true" else 0}
    if args.unset:
        change["unset"] = args.unset
    if flags:
        change["runtime-flags"] = flags
    return change


def _share(text: str) -> float:
    share = float(text)  # argparse tells of a ValueError
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text!r}")
    return share


def _members(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text!r}")
    return value


def _find_ruling(remote: Remote, model: str) -> list[dict[str, Any]] | None:
    """Ask for what rules each setting; None for a model that is not stored."""
    try:
        rows: list[dict[str, Any]] = remote.call(
            "GET", model_path(model, under="/engines/settings")
        )
    except RunnerError as error:
        if error.kind is not Kind.MODEL_NOT_FOUND:
            raise
        return None
    return rows


def _path(model: str | None = None) -> str:
    return PATH if model is None else f"{PATH}?model={percent_encode(model)}"
