"""On whose behalf a request is made: who is told of waits, who may stop it, who it proves to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from runner.errors import Kind, RunnerError


def _say_nothing(_: str) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Caller:
    """One transfer. ``bearer_token`` takes the place of every login that is configured.

    ``tell`` gets one sentence for each wait or change of plan, from any thread.
    """

    tell: Callable[[str], None] = _say_nothing
    is_cancelled: Callable[[], bool] = _never
    bearer_token: str | None = field(default=None, repr=False)

    def check(self) -> None:
        """Raise RunnerError(CANCELLED) when this was told to stop."""
        if self.is_cancelled():
            raise RunnerError(Kind.CANCELLED, "the transfer was cancelled")
