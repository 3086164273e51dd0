"""Renders heads and chunks. What it renders, our own strict reader accepts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from runner.http.events import LocalProtocolError
from runner.http.grammar import IS_TOKEN

Fields = Sequence[tuple[str, str]]

LAST_CHUNK = b"0\r\n\r\n"

# Set by the connection, which knows how it frames the message.
_FRAMING_FIELDS = frozenset({"connection", "content-length", "transfer-encoding", "trailer"})

_REASONS = {
    100: "Continue",
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Found",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    499: "Client Closed Request",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}


def render_head(first_line: str, fields: Fields, framing_lines: str) -> bytes:
    """Render a head: the caller's fields, then the lines that frame the message.

    Values must be printable ASCII, so that none can end its line or its head. Raises
    :class:`LocalProtocolError`.
    """
    values = "".join([value for _, value in fields])
    if not (values.isascii() and values.isprintable()):
        raise LocalProtocolError("a header value is not printable ASCII")
    lines = "".join([f"{_check_name(name)}: {value}\r\n" for name, value in fields])
    return f"{first_line}\r\n{lines}{framing_lines}\r\n".encode("ascii")


def request_line(method: str, target: str) -> str:
    """Render the first line of a request."""
    if not IS_TOKEN.fullmatch(method):
        raise LocalProtocolError(f"{method!r} is not a method")
    if not target or not target.isascii() or not target.isprintable() or " " in target:
        raise LocalProtocolError("a request target must be visible ASCII; percent-encode it")
    return f"{method} {target} HTTP/1.1"


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """Render the first line of a response."""
    if not 100 <= status <= 599:
        raise LocalProtocolError(f"{status} is not a status")
    return f"HTTP/1.1 {status} {_REASONS.get(status, '')}"


@lru_cache(maxsize=256)
def _check_name(name: str) -> str:
    if not IS_TOKEN.fullmatch(name):
        raise LocalProtocolError(f"{name!r} is not a field name")
    if name.lower() in _FRAMING_FIELDS:
        raise LocalProtocolError(f"{name} is set by the connection itself")
    return name
