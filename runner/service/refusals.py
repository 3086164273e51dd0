"""What those are told who wait for a model and do not get it."""

from __future__ import annotations

from runner.errors import Kind, RunnerError
from runner.service.residency import Refusal


def refused(reason: Refusal, name: str, *, wait_s: float, max_loaded: int) -> RunnerError:
    """Build the error of a waiter that is sent away."""
    if reason is Refusal.WAITED:
        return busy(f"no place came free for {name} within {wait_s:g} s")
    return RunnerError(
        Kind.UNAVAILABLE,
        f"{name} cannot be loaded: models that are kept for ever hold all {max_loaded} places",
        hint="unload one of them: runner unload MODEL",
        retry_after_s=60,
    )


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
