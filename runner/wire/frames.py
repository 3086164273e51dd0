"""Frames on the pipe: a payload's length as u32 little-endian, then the payload.

Knows nothing of messages.
"""

from __future__ import annotations

HEADER_BYTES = 4
MAX_FRAME_BYTES = 64 * 1024 * 1024  # far over any step's events; a length above it is line noise


class FrameError(Exception):
    """The bytes are not our frames or messages: the other side is broken, nothing more is read."""


def frame_length(header: bytes | bytearray, *, max_bytes: int = MAX_FRAME_BYTES) -> int:
    """Read a header's payload length; raise :class:`FrameError` for a length no message has."""
    length = int.from_bytes(header[:HEADER_BYTES], "little")
    if not 0 < length <= max_bytes:
        raise FrameError(f"expected a frame of 1 to {max_bytes} bytes, got a length of {length}")
    return length


def frame_header(length: int, *, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """Render the header of a payload; raise :class:`FrameError` for one the reader would refuse."""
    if not 0 < length <= max_bytes:
        raise FrameError(f"expected a message of at most {max_bytes} bytes, got one of {length}")
    return length.to_bytes(HEADER_BYTES, "little")


class FrameBuffer:
    """Cuts a byte stream, fed in any pieces, into payloads."""

    def __init__(self, *, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._bytes = bytearray()
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the payloads they complete, in order.

        Raises :class:`FrameError` as soon as a header is wrong, before any of its payload came.
        """
        if not self._bytes and self._is_one_frame(data):
            return [data[HEADER_BYTES:]]
        self._bytes += data
        payloads: list[bytes] = []
        start = 0
        while len(self._bytes) - start >= HEADER_BYTES:
            body = start + HEADER_BYTES
            length = frame_length(self._bytes[start:body], max_bytes=self._max_bytes)
            if len(self._bytes) - body < length:
                break
            payloads.append(bytes(self._bytes[body : body + length]))
            start = body + length
        if start:
            del self._bytes[:start]
        return payloads

    def _is_one_frame(self, data: bytes) -> bool:
        """A pipe that is read in time gives what was written: one frame, whole."""
        if len(data) < HEADER_BYTES:
            return False
        return frame_length(data, max_bytes=self._max_bytes) == len(data) - HEADER_BYTES

    @property
    def pending_bytes(self) -> int:
        """Bytes held back for a frame that is not whole; non-zero at the end of input is a cut."""
        return len(self._bytes)
