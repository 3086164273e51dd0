"""Header fields in the order received, found by name whatever its case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload


class Headers:
    """The fields of one head, as sent: never changed. Values are Latin-1 text, trimmed."""

    __slots__ = ("_fields", "by_name", "has_repeats")

    def __init__(self, fields: Sequence[tuple[str, str]] = ()) -> None:
        self._fields = fields
        # What get() returns, by name in lower case.
        self.by_name = {name.lower(): value for name, value in fields}
        self.has_repeats = len(self.by_name) != len(fields)  # any name came more than once
        if self.has_repeats:
            for name in self.by_name:
                self.by_name[name] = ", ".join(self.get_all(name))

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value; several lines of one name are one list (RFC 9110 §5.3), so: joined."""
        return self.by_name.get(name.lower(), default)

    def get_all(self, name: str) -> list[str]:
        """Return the value of each line of that name."""
        wanted = name.lower()
        return [value for known, value in self._fields if known.lower() == wanted]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self.by_name

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._lowered() == other._lowered()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"

    def _lowered(self) -> list[tuple[str, str]]:
        return [(name.lower(), value) for name, value in self._fields]
