"""Readers of bodies: one for each way a body can end. Called until the end of the message."""

from __future__ import annotations

from collections.abc import Callable

from runner.http.buffer import ReceiveBuffer
from runner.http.events import END_OF_MESSAGE, NEED_DATA, Data, ProtocolError, Signal
from runner.http.framing import Framing, Kind
from runner.http.grammar import CHUNK_LINE, FIELD
from runner.http.limits import Limits

SMALL_CHUNK_BYTES = 4096  # below, what a chunk costs is not paid for by what it carries

Reader = Callable[[ReceiveBuffer], Data | Signal]


def body_reader(framing: Framing, limits: Limits) -> Reader:
    """Return a reader for a body framed that way."""
    if framing.kind is Kind.LENGTH:
        return LengthReader(framing.length)
    return ChunkedReader(limits) if framing.kind is Kind.CHUNKED else read_until_close


def read_nothing(_buffer: ReceiveBuffer) -> Signal:
    """There is no body."""
    return END_OF_MESSAGE


def read_until_close(buffer: ReceiveBuffer) -> Data | Signal:
    """The body ends when the server closes: nothing tells a whole one from a broken one."""
    if buffer:
        return Data(buffer.take(len(buffer)))
    return END_OF_MESSAGE if buffer.is_eof else NEED_DATA


class LengthReader:
    """A body of a length told in advance."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def __call__(self, buffer: ReceiveBuffer) -> Data | Signal:
        """Return the next event of this body."""
        if not self._left:
            return END_OF_MESSAGE
        if not buffer:
            return _wait_for_more(buffer)
        data = buffer.take(self._left)
        self._left -= len(data)
        return Data(data)


class ChunkedReader:
    """A chunked body (RFC 9112 §7.1). Extensions and trailers are judged and dropped."""

    __slots__ = ("_chunks", "_left", "_limits", "_step")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._chunks = 0
        self._left = 0  # bytes of the chunk that is arriving
        self._step: Reader = self._read_size

    def __call__(self, buffer: ReceiveBuffer) -> Data | Signal:
        """Return the next event of this body."""
        return self._step(buffer)

    def _read_size(self, buffer: ReceiveBuffer) -> Data | Signal:
        max_bytes = self._limits.max_chunk_line_bytes
        line = buffer.peek(max_bytes)
        match = CHUNK_LINE.match(line)
        if match is None:
            if b"\n" in line or len(line) == max_bytes:
                raise ProtocolError(400, "a chunk does not begin with its size in hexadecimal")
            return _wait_for_more(buffer)
        buffer.take(match.end())
        self._left = int(match[1], 16)
        if not self._left:
            self._step = self._read_trailer
            return self._read_trailer(buffer)
        if self._left < SMALL_CHUNK_BYTES:
            self._chunks += 1
        if self._limits.max_chunks is not None and self._chunks > self._limits.max_chunks:
            raise ProtocolError(400, f"the body has over {self._limits.max_chunks} small chunks")
        self._step = self._read_data
        return self._read_data(buffer)

    def _read_data(self, buffer: ReceiveBuffer) -> Data | Signal:
        if not buffer:
            return _wait_for_more(buffer)
        data = buffer.take(self._left)
        self._left -= len(data)
        if not self._left:
            self._step = self._read_data_end
        return Data(data)

    def _read_data_end(self, buffer: ReceiveBuffer) -> Data | Signal:
        end = buffer.peek(2)
        if end == b"\r\n":
            buffer.take(2)
            self._step = self._read_size
            return self._read_size(buffer)
        if b"\r\n".startswith(end):
            return _wait_for_more(buffer)
        raise ProtocolError(400, "a chunk is longer than its size says")

    def _read_trailer(self, buffer: ReceiveBuffer) -> Data | Signal:
        """Drop the trailer: nothing here needs it, and merging it into the head is a known trap."""
        if buffer.peek(2) == b"\r\n":
            buffer.take(2)
            self._step = read_nothing
            return END_OF_MESSAGE
        block = buffer.take_block(self._limits.max_trailer_bytes)
        if block is None:
            if len(buffer) >= self._limits.max_trailer_bytes:
                raise ProtocolError(
                    431, f"the trailer is over {self._limits.max_trailer_bytes} bytes"
                )
            return _wait_for_more(buffer)
        fields = FIELD.findall(block[:-2].decode("latin-1"))
        if not fields[-1][0]:
            raise ProtocolError(400, "the trailer has a line that is no header field")
        self._step = read_nothing
        return END_OF_MESSAGE


def _wait_for_more(buffer: ReceiveBuffer) -> Signal:
    if buffer.is_eof:
        raise ProtocolError(400, "the connection was closed in the middle of a body")
    return NEED_DATA
