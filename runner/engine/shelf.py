"""Texts saved outside of the KV, as they lost their slot or in passing: a bounded index.

Knows which texts there are and which gives way to which. The bytes are the backend's; whether a
text is worth saving or restoring is for :mod:`runner.engine.slots` to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from runner.engine.backend import Adapters, SavedKey
from runner.engine.prefix import NO_MATCH, Match, PrefixTree

PLACES = 1024  # texts at most: what the index itself costs is bounded, too
FIRST_BYTES_PER_S = 1e9  # until the first measurement
LEAST_OBSERVED_BYTES = 1 << 20  # fewer tell of the fixed cost of a call
WEIGHT = 0.25  # of the newest measurement


class CopyPace:
    """How fast texts are saved and restored, learned from how long it took."""

    def __init__(self) -> None:
        self._bytes_per_s = FIRST_BYTES_PER_S

    def seconds(self, size_bytes: int) -> float:
        """Say how long a copy will take."""
        return size_bytes / self._bytes_per_s

    def observe(self, size_bytes: int, duration_s: float) -> None:
        """Learn from a copy."""
        if size_bytes >= LEAST_OBSERVED_BYTES and duration_s > 0.0:
            self._bytes_per_s += WEIGHT * (size_bytes / duration_s - self._bytes_per_s)


class Added(NamedTuple):
    """A new text on the shelf, and what had to go for it."""

    key: SavedKey
    dropped: list[SavedKey]


class Shelf:
    """The saved texts, least recently used first."""

    def __init__(
        self, limit_bytes: int, *, size_bytes: Callable[[int], int], can_trim: bool
    ) -> None:
        """A text of n tokens takes ``size_bytes(n)``; without ``can_trim`` it serves as a whole."""
        self._limit_bytes = limit_bytes
        self._can_trim = can_trim
        self.size_bytes = size_bytes
        self._places = PLACES if limit_bytes else 0
        self._tree = PrefixTree(self._places)
        self._free = list(reversed(range(self._places)))
        self._place_of: dict[SavedKey, int] = {}  # least recently used first
        self._key_at: dict[int, SavedKey] = {}
        self._next_key = 0
        self._passing: set[SavedKey] = set()  # give way to the next of the same text, if unused
        self.pinned: SavedKey | None = None  # about to be restored: gives way to nothing
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._place_of)

    def length(self, key: SavedKey) -> int:
        """Tokens of a text."""
        return self._tree.length(self._place_of[key])

    def fits(self, length: int) -> bool:
        """Whether there is room for such a text when all that may gives way."""
        pinned = 0 if self.pinned is None else self.size_bytes(self.length(self.pinned))
        return self.size_bytes(length) + pinned <= self._limit_bytes

    def find(self, tokens: list[int], limit: int, adapters: Adapters = None) -> Match:
        """Find the longest usable prefix of ``tokens[:limit]``."""
        if not self._place_of:
            return NO_MATCH
        search = self._tree.match if self._can_trim else self._tree.whole
        length, place, _ = search(tokens, limit, adapters)
        return NO_MATCH if place is None else Match(length, None, self._key_at[place])

    def common(self, tokens: list[int], limit: int, adapters: Adapters = None) -> int:
        """Count how many of ``tokens[:limit]`` some text begins with, of use or not."""
        return self._tree.match(tokens, limit, adapters).length

    def add(
        self, tokens: list[int], adapters: Adapters = None, *, is_passing: bool = False
    ) -> Added:
        """Enter a text that ``fits``; texts that it makes useless, and the oldest, give way.

        One ``is_passing`` that no sequence began with is useless beside a longer passing one.
        """
        useless = set(self._place_of) if self._can_trim else set(self._passing)
        dropped = self._prefixes(tokens, adapters, useless) if self._can_trim or is_passing else []
        for key in dropped:
            self.remove(key)
        size_bytes = self.size_bytes(len(tokens))
        while not self._free or self.bytes + size_bytes > self._limit_bytes:
            oldest = next(key for key in self._place_of if key != self.pinned)
            self.remove(oldest)
            dropped.append(oldest)
        place = self._free.pop()
        match = self._tree.match(tokens, len(tokens), adapters)
        self._tree.enter(place, adapters)
        if match.slot is not None:
            self._tree.share(match.slot, place, match.length)
        if match.length < len(tokens):
            self._tree.append(place, tuple(tokens[match.length :]))
        key = self._next_key
        self._next_key += 1
        self._place_of[key], self._key_at[place] = place, key
        self.bytes += size_bytes
        if is_passing:
            self._passing.add(key)
        return Added(key, dropped)

    def texts(self) -> list[tuple[SavedKey, list[int]]]:
        """List the texts of the model as it is loaded, the one used longest ago first."""
        return [
            (key, self._tree.tokens(place))
            for key, place in self._place_of.items()
            if self._tree.adapters(place) is None
        ]

    def touch(self, key: SavedKey) -> None:
        """Make a text the last to give way."""
        self._place_of[key] = self._place_of.pop(key)
        self._passing.discard(key)

    def remove(self, key: SavedKey) -> None:
        """Take a text out; one that is not there is ignored."""
        place = self._place_of.pop(key, None)
        if place is None:
            return
        del self._key_at[place]
        self._passing.discard(key)
        self.bytes -= self.size_bytes(self._tree.length(place))
        self._tree.trim(place, 0)
        self._free.append(place)

    def check(self) -> None:
        """Assert that keys, places and bytes tell the same story."""
        self._tree.check()
        assert {key: place for place, key in self._key_at.items()} == self._place_of
        assert sorted([*self._free, *self._key_at]) == list(range(self._places))
        lengths = [self._tree.length(place) for place in self._key_at]
        assert all(lengths), "an empty text"
        assert self.bytes == sum(self.size_bytes(length) for length in lengths)
        assert self.bytes <= self._limit_bytes, "over the limit"
        assert self._passing <= self._place_of.keys()

    def _prefixes(
        self, tokens: list[int], adapters: Adapters, keys: set[SavedKey]
    ) -> list[SavedKey]:
        """List those of some texts that ``tokens`` begin with."""
        return [
            key
            for key, place in self._place_of.items()
            if key in keys
            and key != self.pinned
            and self._tree.length(place) == self._tree.common(place, tokens, len(tokens), adapters)
        ]
