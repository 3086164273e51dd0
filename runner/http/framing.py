"""Where a body ends, and whether the connection lives on: decided from heads alone.

RFC 9112 §6.3 lets a recipient guess in several cases that attackers use to make two recipients
disagree. Here they are refused: both length and coding, a coding other than ``chunked``, a coding
in HTTP/1.0, a length that is not plain digits or comes twice.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from runner.http.events import ProtocolError, Response
from runner.http.grammar import CONTENT_LENGTH
from runner.http.headers import Headers


class Kind(Enum):
    """How the end of a body is known."""

    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


class Framing(NamedTuple):
    """The framing of one body."""

    kind: Kind
    length: int = 0  # of Kind.LENGTH


NO_BODY = Framing(Kind.LENGTH, 0)
_CHUNKED = Framing(Kind.CHUNKED)
_UNTIL_CLOSE = Framing(Kind.UNTIL_CLOSE)
_BODILESS_STATUSES = frozenset({204, 304})
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})  # RFC 9110 §8.6: say 0 for these


class Terms(NamedTuple):
    """What the head of a request says about the rest of it."""

    body: Framing
    keep_alive: bool
    expects_continue: bool


_TERM_FIELDS = frozenset({"connection", "content-length", "expect", "transfer-encoding"})
_PLAIN_TERMS = Terms(NO_BODY, True, False)


def request_terms(headers: Headers, version: tuple[int, int]) -> Terms:
    """Return how the body of a request ends (without any sign of one, there is none), and so on.

    An expectation other than ``100-continue`` is refused with 417 (RFC 9110 §10.1.1).
    """
    if version == (1, 1) and _TERM_FIELDS.isdisjoint(headers.by_name):
        return _PLAIN_TERMS
    expectation = None if version == (1, 0) else headers.by_name.get("expect")
    if expectation is not None and expectation.lower() != "100-continue":
        raise ProtocolError(417, "the only expectation that can be met is 100-continue")
    body = _declared(headers, version) or NO_BODY
    expects_continue = expectation is not None and body != NO_BODY
    return Terms(body, is_persistent(headers, version), expects_continue)


def response_framing(response: Response, request_method: str) -> Framing:
    """Return how the body of the response to a request of that method ends."""
    if request_method == "HEAD" or response.status in _BODILESS_STATUSES:
        return NO_BODY
    return _declared(response.headers, response.version) or _UNTIL_CLOSE


def is_persistent(headers: Headers, version: tuple[int, int]) -> bool:
    """Whether the sender of that head wants the connection to live on (RFC 9112 §9.3)."""
    connection = headers.by_name.get("connection")
    if connection is None:
        return version == (1, 1)
    options = {option.strip(" \t") for option in connection.lower().split(",")}
    return "close" not in options and (version == (1, 1) or "keep-alive" in options)


def is_bodiless(status: int) -> bool:
    """Whether responses of that status never have a body."""
    return status < 200 or status in _BODILESS_STATUSES


def request_lines(method: str, length: int | None) -> str:
    """Render the fields that frame a request; ``length`` None: not known yet."""
    if length is None:
        return "Transfer-Encoding: chunked\r\n"
    if length or method in _METHODS_WITH_BODY:
        return f"Content-Length: {length}\r\n"
    return ""


def response_lines(
    status: int, length: int | None, *, version: tuple[int, int], keep_alive: bool
) -> str:
    """Render the fields that frame a response to a peer of that version."""
    lines = ""
    if length is None:
        if version == (1, 1):
            lines = "Transfer-Encoding: chunked\r\n"
    elif not is_bodiless(status):
        lines = f"Content-Length: {length}\r\n"
    if not keep_alive:
        return lines + "Connection: close\r\n"
    return lines if version == (1, 1) else lines + "Connection: keep-alive\r\n"


def _declared(headers: Headers, version: tuple[int, int]) -> Framing | None:
    coding = headers.by_name.get("transfer-encoding")
    length = headers.by_name.get("content-length")
    if coding is not None:
        if length is not None:
            raise ProtocolError(400, "the head has both Transfer-Encoding and Content-Length")
        if version == (1, 0):
            raise ProtocolError(400, "HTTP/1.0 has no Transfer-Encoding")
        if coding.lower() != "chunked":
            raise ProtocolError(400, "the only Transfer-Encoding that can be read is chunked")
        return _CHUNKED
    if length is None:
        return None
    if not CONTENT_LENGTH.fullmatch(length):
        raise ProtocolError(400, "the Content-Length is not a sane number of plain digits")
    return Framing(Kind.LENGTH, int(length))
