"""``ps``: the models in memory, and until when they stay."""

from __future__ import annotations

import argparse
from typing import Any

from runner.cli.console import Console
from runner.cli.output import age, decimal_size, display_name, render_json, render_table, short_id
from runner.cli.parser import add_host

HEADER = ("MODEL NAME", "BACKEND", "MODE", "UNTIL")
ENGINE_HEADER = (
    "TOK/S",
    "CONTEXT",
    "MEMORY",
    "DEVICE",
    "THREADS",
    "ACCEPTED",
    "SETTINGS",
)  # only when asked: scripts read Docker's four


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--json", action="store_true", help="everything known, with the engine's settings, as JSON"
    )
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="also speed of the last answer, context, memory, device and settings",
    )
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the table or the JSON."""
    running = console.remote(args.host).call("GET", "/engines/ps")
    if args.json:
        console.write(render_json(running))
        return 0
    header = (*HEADER, *ENGINE_HEADER) if args.verbose else HEADER
    rows = [
        [
            _name(model["model_name"]),
            model.get("backend_name", ""),
            model.get("mode", ""),
            until(model, console.now_s()),
            *(describe_engine(model) if args.verbose else ()),
        ]
        for model in running
    ]
    console.write(render_table(header, rows))
    return 0


def describe_engine(model: dict[str, Any]) -> list[str]:
    """Tell of the engine: speed, memory, threads, guesses that were right, settings' origin."""
    settings = model.get("settings")
    if settings is None:
        return [""] * len(ENGINE_HEADER)
    most = max(settings["threads"], settings["threads_batch"])
    guessed, right = model.get("draft_tokens", 0), model.get("accepted_tokens", 0)
    flash = "on" if settings["flash_attention"] else "off"
    speed = model.get("tokens_per_second")
    return [
        "" if speed is None else f"{speed:.1f}",
        str(settings["context_size"]),
        _memory(model),
        _devices(model, settings["gpu_layers"]),
        f"{model.get('threads') or most} of {most}",
        f"{right / guessed:.0%} of {guessed}" if guessed else "",
        f"{settings['origin']}: flash attention {flash}, {settings['kv_layout']}, "
        f"{settings['kv_type']}, ubatch {settings['ubatch_size']}",
    ]


def _memory(model: dict[str, Any]) -> str:
    """Tell what the worker holds, and what of a GPU's memory it took."""
    sizes = (model.get("memory_bytes"), model.get("device_memory_bytes"))
    words = [decimal_size(size) for size in sizes if size]
    return " + ".join(words)


def _devices(model: dict[str, Any], gpu_layers: int) -> str:
    """Name what computes, and how much of a model a GPU has where it has not all."""
    names = ", ".join(model.get("devices", ())) or "CPU"
    return names if gpu_layers <= 0 else f"{names} ({gpu_layers} layers on it)"


def until(model: dict[str, Any], now_s: float) -> str:
    """Tell in words when a model will be unloaded."""
    if model.get("loading"):
        return f"Loading... {model.get('fraction', 0):.0%}"
    if model.get("keep_alive") == "-1":
        return "Forever"
    expires_at = model.get("expires_at")
    if not expires_at:
        return "In use" if model.get("in_use") else ""
    from datetime import datetime  # which costs what a fifth of the interpreter's start does

    left_s = datetime.fromisoformat(expires_at).timestamp() - now_s
    return f"{age(left_s)} from now" if left_s >= 1 else "Expiring"


def _name(model_name: str) -> str:
    if model_name.startswith("sha256:"):
        return short_id(model_name)
    return display_name(model_name).lower()
