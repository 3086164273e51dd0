"""Reads heads: bytes to :class:`Request` or :class:`Response`, or a refusal that says why.

A complete head costs two pattern matches. What is refused, and with which status, does not
depend on how the bytes arrive: the first line is judged first, then the size, then the fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, TypeVar

from runner.http.buffer import ReceiveBuffer
from runner.http.events import Informational, ProtocolError, Request, Response
from runner.http.framing import Terms, request_terms
from runner.http.grammar import FIELD, HTTP_0_9_LINE, IS_TOKEN, REQUEST_LINE, STATUS_LINE
from runner.http.headers import Headers
from runner.http.limits import Limits
from runner.http.target import BadTarget, parse_host, parse_target

T = TypeVar("T")

_TLS_HANDSHAKE = "\x16"

# Fields that hold one value: from two lines, two readers could each believe another one.
_SINGLETONS = (
    "authorization",
    "content-length",
    "content-type",
    "expect",
    "host",
    "origin",
    "transfer-encoding",
    "x-api-key",
)


class HeadReader(Generic[T]):
    """Takes heads off a buffer and parses them.

    ``explain(text, max_bytes)`` says what is wrong with a first line that ``pattern`` refuses.
    Clients repeat themselves: a head, or fields, of the same bytes as the ones before are not
    parsed again. That is a third of the time of a small request.
    """

    __slots__ = (
        "_explain",
        "_is_line_good",
        "_last_block",
        "_last_fields",
        "_last_head",
        "_last_headers",
        "_limits",
        "_parse",
        "_pattern",
    )

    def __init__(
        self,
        pattern: re.Pattern[str],
        explain: Callable[[str, int], ProtocolError],
        parse: Callable[[re.Match[str], Headers], T],
        limits: Limits,
    ) -> None:
        self._pattern = pattern
        self._explain = explain
        self._parse = parse
        self._limits = limits
        self._is_line_good = False  # of the head that is arriving
        self._last_block = b""
        self._last_head: T | None = None
        self._last_fields = ""
        self._last_headers = Headers()

    def read(self, buffer: ReceiveBuffer) -> T | None:
        """Return a head, or None when it needs more bytes."""
        block = buffer.take_block(self._limits.max_head_bytes)
        if block is None:
            self._judge_partial(buffer)
            return None
        self._is_line_good = False
        if block != self._last_block:
            self._last_head = self._parse_block(block.decode("latin-1"))
            self._last_block = block
        return self._last_head

    def _parse_block(self, text: str) -> T:
        line = self._match_line(text)
        fields = text[line.end() : -2]
        if fields != self._last_fields:
            self._last_headers = self._parse_fields(fields)
            self._last_fields = fields
        return self._parse(line, self._last_headers)

    def _judge_partial(self, buffer: ReceiveBuffer) -> None:
        """Refuse what cannot become a head: a peer that speaks TLS would wait for its answer."""
        if not self._is_line_good:
            text = buffer.peek(self._limits.max_line_bytes).decode("latin-1")
            line = text.removeprefix("\r\n")
            if "\n" in line or len(text) == self._limits.max_line_bytes:
                self._match_line(text)
                self._is_line_good = True
            elif not IS_TOKEN.match(line) and not "\r\n".startswith(text):
                raise self._explain(text, self._limits.max_line_bytes)
        if len(buffer) >= self._limits.max_head_bytes:
            raise ProtocolError(431, f"the head is over {self._limits.max_head_bytes} bytes")

    def _match_line(self, text: str) -> re.Match[str]:
        line = self._pattern.match(text)
        if line is None or line.end() > self._limits.max_line_bytes:
            raise self._explain(text, self._limits.max_line_bytes)
        return line

    def _parse_fields(self, text: str) -> Headers:
        fields = FIELD.findall(text)
        if fields and not fields[-1][0]:
            raise ProtocolError(
                400,
                f"header line {len(fields)} is malformed (is it folded, has it a space before "
                "the colon, a control character, a bare CR or LF?)",
            )
        if len(fields) > self._limits.max_fields:
            raise ProtocolError(431, f"the head has over {self._limits.max_fields} fields")
        return Headers(fields)


RequestHeads = HeadReader[tuple[Request, Terms]]
ResponseHeads = HeadReader[Response | Informational]


def request_heads(limits: Limits) -> RequestHeads:
    """Return a reader for the server's side."""
    return HeadReader(REQUEST_LINE, _explain_request_line, _parse_request, limits)


def response_heads(limits: Limits) -> ResponseHeads:
    """Return a reader for the client's side."""
    return HeadReader(STATUS_LINE, _explain_status_line, _parse_response, limits)


def _explain_request_line(text: str, max_bytes: int) -> ProtocolError:
    """Say what is wrong with the first line of ``text``, which may be all that came of it."""
    line = text.removeprefix("\r\n")
    if line.startswith(_TLS_HANDSHAKE):
        return ProtocolError(400, "this port speaks plain HTTP; use http:// and not https://")
    if not IS_TOKEN.match(line):
        return ProtocolError(400, "this is not an HTTP request")
    end = text.find("\n", len(text) - len(line)) + 1
    if not 0 < end <= max_bytes:
        return ProtocolError(414, f"the request line is over {max_bytes} bytes")
    if HTTP_0_9_LINE.match(line):
        return ProtocolError(400, "the request line has no HTTP version; HTTP/1.1 is needed")
    return ProtocolError(400, "the request line is malformed")


def _explain_status_line(_text: str, _max_bytes: int) -> ProtocolError:
    """Say what is wrong with the first line of a response."""
    return ProtocolError(502, "this is not an HTTP/1 response")


def _parse_request(line: re.Match[str], headers: Headers) -> tuple[Request, Terms]:
    """Judge a well-formed head: take its target apart, and say what follows it."""
    method, target, major, minor = line.groups()
    if major != "1":
        raise ProtocolError(505, f"HTTP/{major}.{minor} is not spoken here; use HTTP/1.1")
    if method == "CONNECT":
        raise ProtocolError(405, "CONNECT is for proxies, and this is none")
    if headers.has_repeats:
        for name in _SINGLETONS:
            if len(headers.get_all(name)) > 1:
                raise ProtocolError(400, f"the head has more than one {name} field")
    version = (1, 1 if minor != "0" else 0)
    field = headers.by_name.get("host")
    if field is None and version == (1, 1):
        raise ProtocolError(400, "the head has no Host field")
    try:
        host = None if field is None else parse_host(field)
        parts = parse_target(method, target)
    except BadTarget as error:
        raise ProtocolError(400, str(error)) from error
    request = Request(
        method,
        target,
        parts.path,
        parts.raw_path,
        parts.query,
        headers,
        version,
        parts.host or host,  # RFC 9112 §3.2.2: the target's host counts, not the field
    )
    return request, request_terms(headers, version)


def _parse_response(line: re.Match[str], headers: Headers) -> Response | Informational:
    """Judge the head of a response that is well-formed."""
    major, minor, status, reason = line.groups()
    if major != "1":
        raise ProtocolError(502, f"the server answered in HTTP/{major}.{minor}")
    if status == "101":
        raise ProtocolError(502, "the server switched protocols unasked")
    if status.startswith("1"):
        return Informational(int(status), headers)
    return Response(int(status), reason or "", headers, (1, 1 if minor != "0" else 0))
