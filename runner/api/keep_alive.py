"""How long a model stays in memory: ``keep_alive`` of a request. Pure."""

from __future__ import annotations

from typing import Any

from runner.api.fields import Field, refuse
from runner.durations import keep_alive_of, parse_keep_alive

MAX_CHARACTERS = 64


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
    "how long the model stays in memory after its last use; 0 unloads it, -1 keeps it",
    {"type": ["number", "string"]},
    _read,
)
