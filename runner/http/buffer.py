"""Bytes received and not yet read."""

from __future__ import annotations

_BLANK_LINE = b"\r\n\r\n"


class ReceiveBuffer:
    """A queue of bytes that remembers how far it was searched.

    A head that arrives byte by byte is found in linear time: no byte is looked at twice.
    """

    __slots__ = ("_data", "_searched", "is_eof")

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0  # no blank line begins before
        self.is_eof = False  # the peer sends no more

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes at the end."""
        self._data += data

    def peek(self, count: int) -> bytes:
        """Return the first ``count`` bytes (or fewer) and keep them."""
        return bytes(self._data[:count])

    def take(self, count: int) -> bytes:
        """Return and drop the first ``count`` bytes (or fewer)."""
        data = self._data
        self._searched = 0
        if count >= len(data):
            self._data = bytearray()
            return bytes(data)
        taken = bytes(data[:count])
        del data[:count]
        return taken

    def take_block(self, max_bytes: int) -> bytes | None:
        """Return and drop all through the first blank line; None unless it ends in time."""
        at = self._data.find(_BLANK_LINE, self._searched)
        if at < 0:
            self._searched = max(0, len(self._data) - len(_BLANK_LINE) + 1)
            return None
        end = at + len(_BLANK_LINE)
        return self.take(end) if end <= max_bytes else None
