"""Docker Model Runner's JSON for engines and progress. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from runner.durations import render_keep_alive
from runner.service import RunningModel
from runner.wire.messages import EngineSettings, Measured, ModelFacts, Tuned

NEVER = "0001-01-01T00:00:00Z"  # Go's zero time: "not applicable"


def running_model(model: RunningModel, *, now_s: float) -> dict[str, Any]:
    """Render one row of ``GET /engines/ps``: Docker's members first, then what only we tell.

    ``now_s`` is Unix time: the service counts seconds, the API shows times.
    """
    shown: dict[str, Any] = {
        "backend_name": "llama.cpp",
        "model_name": model.name,
        "mode": _mode(model.facts),
        "last_used": NEVER if model.idle_s is None else render_time(now_s - model.idle_s),
        "keep_alive": render_keep_alive(model.keep_alive_s),
    }
    if model.in_use:
        shown["in_use"] = True
    if model.phase == "loading":
        shown["loading"] = True
        shown["fraction"] = round(model.fraction, 3)
    if model.expires_in_s is not None:
        shown["expires_at"] = render_time(now_s + model.expires_in_s)
    shown |= {"id": model.id, "tags": list(model.tags), "pid": model.pid, "size": model.size_bytes}
    return shown | _engine(model)


def _mode(facts: ModelFacts | None) -> str:
    if facts is None or not facts.pooling:
        return "completion"
    return "reranking" if facts.reranks else "embedding"


def _engine(model: RunningModel) -> dict[str, Any]:
    """Render what the worker told: facts and settings when it was ready, then its last numbers."""
    told: dict[str, Any] = {"requests": model.leases, "waiting": model.waiting}
    if model.ready is not None:
        told["settings"] = msgspec.to_builtins(model.ready.settings)
        told["model"] = msgspec.to_builtins(model.ready.model)
        del told["model"]["chat_template"]  # pages of text: /props tells it
        told["devices"] = list(model.ready.devices)
        told["system_info"] = model.ready.system_info
        told["load_ms"] = model.ready.load_ms
        if model.ready.device_bytes:
            told["device_memory_bytes"] = model.ready.device_bytes
    if model.tokens_per_s is not None:
        told["tokens_per_second"] = round(model.tokens_per_s, 2)  # of the last answer
    if (beat := model.beat) is not None:
        told |= {
            "running": beat.running,
            "waiting": model.waiting + beat.waiting,
            "cells_used": beat.cells_used,
            "cells_total": beat.cells_total,
            "memory_bytes": beat.resident_bytes,
            "prompt_tokens": beat.prompt_tokens,
            "cached_tokens": beat.cached_tokens,
            "completion_tokens": beat.completion_tokens,
            "threads": beat.threads,
            "draft_tokens": beat.draft_tokens,
            "accepted_tokens": beat.accepted_tokens,
            "prefix_ram_bytes": beat.prefix_ram_bytes,
        }
    return told


def render_time(unix_s: float) -> str:
    """Write a time as Go's JSON does (RFC 3339, UTC)."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# ---- progress of tuning ----------------------------------------------------------------------


def tuning_begun(in_force: EngineSettings) -> bytes:
    """Render the first line: the settings that a search begins with."""
    return json_line({"type": "begun", "settings": msgspec.to_builtins(in_force)})


def tuning_line(report: Measured | Tuned) -> bytes:
    """Render a measurement, or as the last line the result or why there is none."""
    match report:
        case Measured():
            kind = "measured"
        case Tuned(settings=None):
            return json_line({"type": "error", "message": report.problem})
        case Tuned():
            kind = "tuned"
    return json_line({"type": kind} | msgspec.to_builtins(msgspec.structs.asdict(report)))


def json_line(value: dict[str, Any]) -> bytes:
    """Render an object of a stream of JSON lines."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
