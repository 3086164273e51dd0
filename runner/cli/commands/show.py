"""``show``: one stored model on one page, with the engine's settings and where they come from."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

from runner.cli.commands.configure import render_value
from runner.cli.commands.ps import until
from runner.cli.commands.tune import switch, threads
from runner.cli.console import Console
from runner.cli.output import decimal_size, printable, render_json
from runner.cli.parser import add_host
from runner.cli.remote import Remote, model_path

ORIGINS = {"rule": "by rules of thumb", "tuned": "measured on this machine"}

FACTS = (
    ("Format", "format"),
    ("Architecture", "architecture"),
    ("Parameters", "parameters"),
    ("Size", "size"),
    ("Quantization", "quantization"),
    ("Context Size", "context_size"),
)

Line = tuple[str, str]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "-r", "--remote", action="store_true", help="what its registry has, without pulling it"
    )
    parser.add_argument("--json", action="store_true", help="all of it as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the page."""
    remote = console.remote(args.host)
    if args.remote:
        model = remote.call("GET", f"{model_path(args.model)}?remote=true")
        console.write(render_json({"model": model}) if args.json else render_page(model, []))
        return 0
    known = find(remote, args.model)
    if args.json:
        console.write(render_json(known))
        return 0
    if known["loaded"] is None:
        engine = [("State", "not loaded"), *describe_record(known["tuned"])]
    else:
        loaded = known["loaded"]
        engine = [("State", state(loaded, console.now_s())), *describe_engine(loaded)]
    console.write(render_page(known["model"], engine, list(describe_settings(known["settings"]))))
    return 0


def find(remote: Remote, name: str) -> dict[str, Any]:
    """Ask for all that is known of a stored model: the members of ``show --json``.

    ``model`` is as ``inspect`` has it, ``loaded`` as ``ps --json`` or None, ``tuned`` what was
    measured or None, ``settings`` each with its origin. Raises RunnerError.
    """
    model = remote.call("GET", model_path(name))
    running = remote.call("GET", "/engines/ps")
    return {
        "model": model,
        "loaded": next((one for one in running if one.get("id") == model["id"]), None),
        "tuned": remote.call("GET", model_path(model["id"], under="/engines/tuned")),
        "settings": remote.call("GET", model_path(model["id"], under="/engines/settings")),
    }


def render_page(
    model: dict[str, Any], engine: Sequence[Line], settings: Sequence[Line] = ()
) -> str:
    """Lay the page out: as Docker's, with the engine's settings before the long metadata."""
    config = model.get("config") or {}
    metadata = sorted((config.get("gguf") or {}).items())
    sections = [
        "".join(f"{name + ':':<13}{printable(text)}\n" for name, text in describe_model(model)),
        "".join(
            f"{name + ':':<15}{printable(str(config[key]))}\n"
            for name, key in FACTS
            if config.get(key)
        ),
    ]
    if engine:
        lines = (f"  {name + ':':<17}{printable(text)}\n" for name, text in engine)
        sections.append("Engine:\n" + "".join(lines))
    if settings:
        lines = (f"  {name + ':':<20}{printable(text)}\n" for name, text in settings)
        sections.append("Settings:\n" + "".join(lines))
    if metadata:
        lines = (f"  {printable(name)}: {printable(str(value))}\n" for name, value in metadata)
        sections.append("GGUF Metadata:\n" + "".join(lines))
    return "\n".join(section for section in sections if section)


def describe_model(model: dict[str, Any]) -> Iterator[Line]:
    """Tell which model it is."""
    yield "Model", model["id"]
    yield "Tags", ", ".join(model.get("tags") or ())
    if model.get("created"):
        yield "Created", render_time(model["created"])


def state(loaded: dict[str, Any], now_s: float) -> str:
    """Tell that a model is in memory, and until when."""
    return f"loaded ({until(loaded, now_s).lower() or 'in use'})"


def describe_engine(loaded: dict[str, Any]) -> Iterator[Line]:
    """Tell the settings in force and what came of them."""
    settings = loaded.get("settings")
    if settings is None:
        return
    yield "Settings", ORIGINS.get(settings["origin"], settings["origin"])
    yield "Context", f"{settings['context_size']} tokens a conversation"
    yield "Together", f"{settings['parallel']} answers, {settings['slots']} slots"
    in_use = loaded.get("threads")
    yield "Threads", threads(settings) + (f", {in_use} in use" if in_use else "")
    yield "Flash attention", switch(settings["flash_attention"])
    yield "KV cache", f"{settings['kv_layout']}, {settings['kv_type']}"
    yield "Batch", f"{settings['batch_size']} rows, {settings['ubatch_size']} at a time"
    yield "Speculation", speculation(loaded)
    yield (
        "Prefixes",
        f"{decimal_size(settings['prefix_ram_bytes'])} of memory"
        + (
            f", {decimal_size(settings['prefix_disk_bytes'])} of disk"
            if settings["prefix_disk_bytes"]
            else ""
        ),
    )


def describe_settings(rows: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """Tell each setting with who said so."""
    for row in rows:
        yield row["name"], f"{render_value(row['value'])} ({row['origin']})"


def describe_record(record: dict[str, Any] | None) -> Iterator[Line]:
    """Tell what is remembered of a model that is not loaded."""
    if record is None:
        yield "Settings", "not measured yet; to do it now: runner tune MODEL"
        return
    settings = record["settings"]
    yield "Settings", ORIGINS["tuned"]
    yield "Threads", threads(settings)
    yield "Flash attention", switch(settings["flash_attention"])
    yield "KV cache", settings["kv_layout"]
    yield "Batch", f"{settings['ubatch_size']} rows at a time"


def speculation(loaded: dict[str, Any]) -> str:
    """Tell how many tokens may be guessed, and the share of guesses that were right."""
    most = loaded["settings"]["draft_tokens"]
    guessed, right = loaded.get("draft_tokens", 0), loaded.get("accepted_tokens", 0)
    if not most:
        return "off"
    return f"up to {most} tokens" + (f", {right / guessed:.0%} of them right" if guessed else "")


def render_time(unix_s: int) -> str:
    """Write a time as Go does (RFC 3339, UTC)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))
