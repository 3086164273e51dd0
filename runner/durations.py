"""Time spans as people and Go programs write them: ``30s``, ``1h30m``, ``5m0s``. Pure."""

from __future__ import annotations

import math
import re

FOREVER = math.inf  # of a model that is kept: until it is unloaded by name
LONGEST_S = (2**63 - 1) / 1e9  # that Go's programs can hold, and dates are far from ending then


def parse_duration(text: str) -> float:
    """Parse ``30s``, ``1h30m``, ``300ms`` or plain seconds into seconds; raise ValueError."""
    if not re.fullmatch(rf"{_NUMBER}|(?:{_NUMBER}{_UNIT})+", text, re.ASCII):
        raise ValueError("a time such as 30s, 5m or 1h")
    parts = re.findall(rf"({_NUMBER})({_UNIT})?", text, re.ASCII)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def parse_keep_alive(text: str) -> float:
    """Parse how long an idle model is kept, as :func:`keep_alive_of` has it; raise ValueError."""
    try:
        seconds = parse_duration(text.removeprefix("-"))
    except ValueError:
        raise ValueError("a time such as 30s, 5m or 1h, or -1 for ever") from None
    return keep_alive_of(-seconds if text.startswith("-") else seconds)


def keep_alive_of(seconds: float) -> float:
    """Return how long an idle model is kept, in seconds; any negative time is :data:`FOREVER`.

    Docker Model Runner and Ollama both write ``-1`` for that. So is a time beyond the longest.
    """
    return seconds if 0 <= seconds <= LONGEST_S else FOREVER


def render_keep_alive(seconds: float) -> str:
    """Write a time span as Go does (``5m0s``); :data:`FOREVER` is ``-1``."""
    if seconds == FOREVER:
        return "-1"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    if hours:
        return f"{hours}h{minutes}m{rest:g}s"
    return f"{minutes}m{rest:g}s" if minutes else f"{rest:g}s"


_NUMBER = r"\d+(?:\.\d+)?"
_UNIT = r"(?:ms|[smhd])"
_SECONDS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
