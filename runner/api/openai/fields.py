"""Reads one JSON object field by field: every error names the field, what it takes and what came.

A member that is ``null`` counts as absent. ``true`` is never a number; ``256.0`` is an integer;
``"0.7"`` is a string. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from runner.errors import Kind, RunnerError


class Fields:
    """The members of one object, taken out one by one; what is left was not understood.

    ``path`` leads every name in errors: ``messages[2].`` for a message, empty for the request.
    """

    def __init__(self, members: dict[str, Any], path: str = "") -> None:
        self._members = {name: value for name, value in members.items() if value is not None}
        self._path = path

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names not taken yet, in the order they were sent."""
        return iter(self._members)

    def param(self, name: str) -> str:
        """Return the full name of a member, as errors write it."""
        return self._path + name

    def take(self, name: str) -> Any:
        """Take a member of any type; None when it is absent."""
        return self._members.pop(name, None)

    def drop(self, names: Iterable[str]) -> None:
        """Take members whose values do not matter."""
        for name in names:
            self._members.pop(name, None)

    def boolean(self, name: str) -> bool | None:
        """Take true or false."""
        value = self.take(name)
        return None if value is None else as_boolean(value, self.param(name))

    def integer(self, name: str, low: int, high: int) -> int | None:
        """Take an integer out of ``low``..``high``, both included."""
        value = self.take(name)
        return None if value is None else as_integer(value, self.param(name), low, high)

    def number(self, name: str, low: float, high: float) -> float | None:
        """Take a number out of ``low``..``high``, both included."""
        value = self.take(name)
        return None if value is None else as_number(value, self.param(name), low, high)

    def text(self, name: str, *, max_characters: int | None = None) -> str | None:
        """Take a string."""
        value = self.take(name)
        return None if value is None else as_text(value, self.param(name), max_characters)

    def object(self, name: str) -> dict[str, Any] | None:
        """Take an object."""
        value = self.take(name)
        return None if value is None else as_object(value, self.param(name))

    def array(self, name: str) -> list[Any] | None:
        """Take an array."""
        value = self.take(name)
        return None if value is None else as_array(value, self.param(name))


def as_boolean(value: Any, param: str) -> bool:
    """Return ``value`` if it is true or false."""
    if not isinstance(value, bool):
        refuse(param, "true or false", value)
    return value


def as_integer(value: Any, param: str, low: int, high: int) -> int:
    """Return ``value`` as an integer out of ``low``..``high``; ``256.0`` is one."""
    expected = f"an integer {span(low, high)}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        refuse(param, expected, value)
    return value


def as_number(value: Any, param: str, low: float, high: float) -> float:
    """Return ``value`` as a float out of ``low``..``high``."""
    # NaN fails the comparison, so it needs no case of its own.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        refuse(param, f"a number {span(low, high)}", value)
    return float(value)


def as_text(value: Any, param: str, max_characters: int | None = None) -> str:
    """Return ``value`` if it is a string of at most ``max_characters``."""
    if not isinstance(value, str):
        refuse(param, "a string", value)
    if max_characters is not None and len(value) > max_characters:
        refuse(param, f"a string of at most {max_characters} characters", value)
    return value


def as_object(value: Any, param: str) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object."""
    if not isinstance(value, dict):
        refuse(param, "an object", value)
    return value


def as_array(value: Any, param: str) -> list[Any]:
    """Return ``value`` if it is a JSON array."""
    if not isinstance(value, list):
        refuse(param, "an array", value)
    return value


def refuse(param: str, expected: str, got: Any) -> NoReturn:
    """Raise INVALID_REQUEST: ``temperature: expected a number from 0 to 2, got "x"``."""
    raise RunnerError(
        Kind.INVALID_REQUEST, f"{param}: expected {expected}, got {describe(got)}", param=param
    )


def span(low: float, high: float) -> str:
    """Write a range in words; a float's bound that only guards against nonsense is left out."""
    if isinstance(high, float) and high >= NO_LIMIT:
        return f"of {low:g} or more"
    return f"from {low} to {high}" if isinstance(high, int) else f"from {low:g} to {high:g}"


# A float32 holds it and no sampler means anything by more.
NO_LIMIT = 1e9


def describe(value: Any) -> str:
    """Describe a JSON value in a few characters, safe in a log line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"an array of {len(value)}" if value else "an empty array"
    if isinstance(value, str) and len(value) > 60:
        return f"a string of {len(value)} characters"
    return json.dumps(value)
