"""Names that stand for other models. Pure.

Programs are written for one company's models and ask for those by name. An alias says which stored
model is meant instead, so that they work unchanged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Aliases:
    """Pairs of a pattern and a model's name; ``*`` in a pattern stands for any text."""

    rules: tuple[tuple[str, str], ...] = ()

    def target(self, name: str) -> str | None:
        """Return the model of the first pattern that fits the whole name; None: none does."""
        return next((model for pattern, model in self.rules if _fits(pattern, name)), None)

    def plain(self) -> tuple[tuple[str, str], ...]:
        """Return the pairs whose pattern is a name."""
        return tuple(rule for rule in self.rules if "*" not in rule[0])


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None
