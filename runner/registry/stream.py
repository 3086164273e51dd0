"""The bytes of a blob on their way: what every source gives, and every download takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class BlobStream(Protocol):
    """An answer whose head has arrived. Its bytes are unverified."""

    @property
    def start(self) -> int:
        """Offset of the first byte: the one asked for, or 0 where the range was ignored."""
        ...

    @property
    def size_bytes(self) -> int | None:
        """Size of the whole blob as the server states it; None when it does not."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """Yield what arrives. Raises RunnerError: REGISTRY_UNAVAILABLE for a stall or a break."""
        ...


# From an offset to one before another, None: the end. May raise what its registry raises.
OpenRange = Callable[[int, int | None], AbstractContextManager[BlobStream]]
