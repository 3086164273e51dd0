"""What a connection tells: heads, data and signals, as immutable values, and its two errors.

``NamedTuple`` and not frozen dataclasses: they are built three times faster, once or more for
every request, and the CLI is spared the import of ``dataclasses``.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from runner.http.headers import Headers
from runner.http.target import Host


class Request(NamedTuple):
    """The head of a request. ``target`` is visible ASCII, just as it was sent."""

    method: str  # as sent; methods are case-sensitive
    target: str
    path: str  # percent-decoded once, UTF-8, no control characters; dot segments and // kept
    raw_path: str  # the path as sent
    query: str  # as sent, without "?"; not decoded
    headers: Headers
    version: tuple[int, int]
    host: Host | None  # of an absolute target, else of the Host field; None only in HTTP/1.0


class Response(NamedTuple):
    """The head of a final response."""

    status: int
    reason: str
    headers: Headers
    version: tuple[int, int]


class Informational(NamedTuple):
    """The head of an interim (1xx) response; the final one follows."""

    status: int
    headers: Headers


class Data(NamedTuple):
    """Some bytes of a body, never empty. How a body is cut into pieces means nothing."""

    data: bytes


class Signal(Enum):
    """An event that carries nothing."""

    END_OF_MESSAGE = "end of message"
    CONNECTION_CLOSED = "connection closed"  # by the peer, between two messages
    NEED_DATA = "need data"  # call receive() with more bytes first
    PAUSED = "paused"  # the message is over; next_cycle() makes way for the next one


NEED_DATA: Final = Signal.NEED_DATA
END_OF_MESSAGE: Final = Signal.END_OF_MESSAGE
CONNECTION_CLOSED: Final = Signal.CONNECTION_CLOSED
PAUSED: Final = Signal.PAUSED

Event = Request | Response | Informational | Data | Signal


class ProtocolError(Exception):
    """The peer broke the rules. A server answers ``status``; nothing more is read from the peer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class LocalProtocolError(AssertionError):
    """Our own side broke the rules: a bug, and nothing was sent."""
