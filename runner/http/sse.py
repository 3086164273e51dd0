"""Server-Sent Events (WHATWG HTML §9.2): rendering, and a decoder for clients."""

from __future__ import annotations

import re
from typing import NamedTuple

from runner.http.events import LocalProtocolError, ProtocolError

HEARTBEAT = b":\n\n"  # a comment: clients skip it, and the connection shows signs of life
MAX_EVENT_BYTES = 16 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event as a client gets it."""

    name: str  # "message" when the server gave none
    data: str


def render(data: bytes, event: str | None = None) -> bytes:
    """Render one event; data of several lines is sent as several ``data`` fields."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_LINE_END.split(data))
    if event is None:
        return b"data: %b\n\n" % data
    if "\n" in event or "\r" in event:
        raise LocalProtocolError("the name of an event must be one line")
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)


class Decoder:
    """Turns the bytes of a stream into events, however they are cut.

    An event that the end of the stream interrupts is never given. ``id`` and ``retry`` are
    ignored: nobody here reconnects.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest = b""  # of a line that has not ended
        self._is_start = True
        self._may_skip_lf = False  # the last line ended with CR: an LF belongs to it
        self._name = ""
        self._data: list[str] = []
        self._size_bytes = 0  # of the event that is arriving

    def feed(self, piece: bytes) -> list[Event]:
        """Take bytes, return the events they complete; ``ProtocolError`` if one is too big."""
        if not piece:
            return []
        if self._may_skip_lf:
            piece = piece.removeprefix(b"\n")
            self._may_skip_lf = False
        text = self._rest + piece
        if self._is_start:
            if len(text) < len(_BOM) and _BOM.startswith(text):
                self._rest = text
                return []
            text = text.removeprefix(_BOM)
            self._is_start = False
        self._may_skip_lf = text.endswith(b"\r")
        *lines, self._rest = _LINE_END.split(text)
        events = [event for line in lines if (event := self._take_line(line)) is not None]
        self._check_size(len(self._rest))
        return events

    def _take_line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._size_bytes += len(value)
            self._check_size(0)
            self._data.append(value.decode("utf-8", "replace"))
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._name or "message", "\n".join(self._data)) if self._data else None
        self._name = ""
        self._data = []
        self._size_bytes = 0
        return event

    def _check_size(self, rest_bytes: int) -> None:
        if self._size_bytes + rest_bytes > self._max_event_bytes:
            raise ProtocolError(502, f"an event is over {self._max_event_bytes} bytes")
