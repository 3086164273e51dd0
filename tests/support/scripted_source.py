"""A source of one blob that answers as its script says: a registry without a network.

Each answer of the script serves one opening; the last one serves all that follow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from runner.errors import Kind, RunnerError

CHUNK_BYTES = 1500  # no divisor or multiple of a block


@dataclass
class Answer:
    """What a server says to one request."""

    start: int
    size_bytes: int | None
    body: bytes
    then: Exception | None = None  # what ends the body, after its bytes
    gate: threading.Event | None = None  # the body waits for it

    def chunks(self) -> Iterator[bytes]:
        if self.gate is not None:
            assert self.gate.wait(20)
        for at in range(0, len(self.body), CHUNK_BYTES):
            yield self.body[at : at + CHUNK_BYTES]
        if self.then is not None:
            raise self.then


Respond = Callable[[bytes, int, int | None], Answer]


@dataclass
class ScriptedSource:
    """Counts what it was asked, and answers."""

    data: bytes
    script: Sequence[Respond]
    asked: list[tuple[int, int | None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def open_range(self, start: int, end: int | None) -> Iterator[Answer]:
        with self._lock:
            respond = self.script[min(len(self.asked), len(self.script) - 1)]
            self.asked.append((start, end))
        yield respond(self.data, start, end)


def honest(data: bytes, start: int, end: int | None) -> Answer:
    """206 with the range."""
    return Answer(start, len(data), data[start:end])


def whole(data: bytes, start: int, end: int | None) -> Answer:
    """200 with everything, whatever was asked."""
    return Answer(0, len(data), data)


def empty(data: bytes, start: int, end: int | None) -> Answer:
    """206 without a byte."""
    return Answer(start, len(data), b"")


def broken_after(count: int) -> Respond:
    """The connection breaks after so many bytes."""

    def respond(data: bytes, start: int, end: int | None) -> Answer:
        return Answer(start, len(data), data[start:end][:count], then=unavailable())

    return respond


def short_by(count: int) -> Respond:
    """The body ends too early, as if that were all."""

    def respond(data: bytes, start: int, end: int | None) -> Answer:
        return Answer(start, len(data), data[start:end][:-count])

    return respond


def flipped_at(offset: int) -> Respond:
    """One byte of the blob is another one."""

    def respond(data: bytes, start: int, end: int | None) -> Answer:
        wrong = bytearray(data)
        wrong[offset] ^= 1
        return Answer(start, len(data), bytes(wrong[start:end]))

    return respond


def refused(error: Exception) -> Respond:
    """No body at all."""

    def respond(data: bytes, start: int, end: int | None) -> Answer:
        raise error

    return respond


def unavailable() -> RunnerError:
    details = {"cause": "broken"}
    return RunnerError(Kind.REGISTRY_UNAVAILABLE, "the connection broke", details=details)
