"""How long a model stays in memory: ``keep_alive`` of a request. Pure."""

from __future__ import annotations

from typing import Any, Protocol

from runner.api.fields import Field, refuse
from runner.api.gate import Allowed
from runner.api.keys import Scope
from runner.durations import keep_alive_of, parse_keep_alive

MAX_CHARACTERS = 64


class Asked(Protocol):
    """A parsed request that may say how long its model stays."""

    @property
    def keep_alive_s(self) -> float | None:
        """Seconds after its last use; None: it does not say."""

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of fields that had no effect."""


def _read(value: Any, param: str) -> float:
    """Return seconds, or ``runner.durations.FOREVER``."""
    expected = 'seconds, a time such as "5m", or -1 for ever'
    if isinstance(value, str) and len(value) <= MAX_CHARACTERS:
        try:
            return parse_keep_alive(value)
        except ValueError:
            refuse(param, expected, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(param, expected, value)
    return keep_alive_of(float(value))


KEEP_ALIVE: Field[float] = Field(
    "keep_alive",
    "how long the model stays in memory after its last use: 0 unloads it, -1 keeps it;"
    " ignored without the scope manage",
    {"type": ["number", "string"]},
    _read,
)


def permitted(asked: Asked, allowed: Allowed) -> tuple[float | None, tuple[str, ...]]:
    """Return how long its model may be kept, and the names of all fields without effect.

    Whoever pins a model, or has it unloaded, does so to everybody who uses it: that is for those
    who manage models.
    """
    if asked.keep_alive_s is None or Scope.MANAGE in allowed.scopes:
        return asked.keep_alive_s, asked.ignored
    return None, (*asked.ignored, KEEP_ALIVE.name)
