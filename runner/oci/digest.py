"""The digest of a blob. The only form in which a digest's text comes near a path or a URL."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from runner.errors import Kind, RunnerError

if TYPE_CHECKING:
    from hashlib import _Hash

# Registered algorithms of the image specification with the length of their hex part.
HEX_LENGTHS = {"sha256": 64, "sha512": 128}
SHORT_HEX = 12  # characters of a short id

_FORM = re.compile(r"([a-z0-9]+):([0-9a-f]+)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """An algorithm and lower-case hex of exactly its length; make one by parse or of."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        match = _FORM.fullmatch(f"{self.algorithm}:{self.hex}")
        if match is None or HEX_LENGTHS.get(self.algorithm) != len(self.hex):
            raise RunnerError(
                Kind.INVALID_REFERENCE,
                f"invalid digest {f'{self.algorithm}:{self.hex}'[:160]!a}",
                hint="expected sha256: and 64, or sha512: and 128, lower-case hex digits",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``sha256:…`` or ``sha512:…``; raise RunnerError(INVALID_REFERENCE)."""
        algorithm, _, hexadecimal = text.partition(":")
        return cls(algorithm, hexadecimal)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Hash bytes with sha256."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    def hasher(self) -> _Hash:
        """Begin a hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def matches(self, data: bytes) -> bool:
        """Hash the bytes and compare."""
        return hashlib.new(self.algorithm, data).hexdigest() == self.hex

    @property
    def short(self) -> str:
        """The first 12 hex digits, as lists show an id."""
        return self.hex[:SHORT_HEX]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
