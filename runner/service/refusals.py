"""What those are told who wait for a model and do not get it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runner.errors import Kind, RunnerError
from runner.gguf import render_size
from runner.service.residency import Refusal, Room, Stay, most_bytes
from runner.wire.messages import MemoryNeed


def refused(
    reason: Refusal, name: str, need: MemoryNeed, *, room: Room, stays: Sequence[Stay]
) -> RunnerError:
    """Build the error of a waiter that is sent away; ``room`` and ``stays`` were planned with."""
    if reason is Refusal.WAITED:
        return busy(f"no place came free for {name} within {room.wait_s:g} s")
    pinned = [stay for stay in stays if stay.keep_alive_s == math.inf]
    hint = "unload one of them: runner unload MODEL"
    if reason is Refusal.PINNED and len(pinned) >= room.max_loaded:
        message = f"models that are kept for ever hold all {room.max_loaded} places"
        return _unavailable(f"{name} cannot be loaded: {message}", hint)
    had_bytes = most_bytes(stays, room.available_bytes or 0)
    words = f"{name} needs {in_words(need)}"
    if reason is Refusal.PINNED:
        had_bytes -= sum(stay.need_bytes for stay in pinned)
        words += f", and models that are kept for ever leave {render_size(max(0, had_bytes))}"
    else:
        words += f", and this machine can give {render_size(had_bytes)}"
        hint = "use a smaller model or a smaller context, or close other programs"
    return _unavailable(words, hint, {"available_bytes": had_bytes, **in_numbers(need)})


def in_words(need: MemoryNeed) -> str:
    """Write what a model takes, and what for."""
    return (
        f"{render_size(need.total_bytes)} of memory ({render_size(need.weights_bytes)} for weights,"
        f" {render_size(need.cache_bytes)} for a context of {need.context_size} tokens and"
        f" {render_size(need.compute_bytes)} to compute)"
    )


def in_numbers(need: MemoryNeed) -> dict[str, int]:
    """List what a model takes, for programs."""
    return {
        "need_bytes": need.total_bytes,
        "weights_bytes": need.weights_bytes,
        "cache_bytes": need.cache_bytes,
        "compute_bytes": need.compute_bytes,
        "context_size": need.context_size,
    }


def is_short_of_memory(error: RunnerError) -> bool:
    """Whether a load failed for lack of memory: it said so, or the system killed it."""
    was_killed = error.kind is Kind.ENGINE_CRASHED and error.details.get("signal") == "SIGKILL"
    return was_killed or error.kind is Kind.OUT_OF_MEMORY


def busy(message: str) -> RunnerError:
    """Build the 503 of a queue that is full or too slow."""
    return RunnerError(Kind.BUSY, message, hint="try again later", retry_after_s=5)


def closing() -> RunnerError:
    """Build the 503 of a daemon that is shutting down."""
    return RunnerError(
        Kind.UNAVAILABLE,
        "the server is shutting down",
        hint="try again when it is back",
        retry_after_s=10,
    )


def _unavailable(message: str, hint: str, details: dict[str, int] | None = None) -> RunnerError:
    return RunnerError(Kind.UNAVAILABLE, message, hint=hint, details=details, retry_after_s=60)
