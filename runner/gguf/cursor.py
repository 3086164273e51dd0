"""A bounded reader: nothing is read, skipped or counted beyond the end of the header."""

from __future__ import annotations

import struct
from itertools import repeat

from runner.errors import RunnerError
from runner.gguf.fault import HeaderCutOff, invalid

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Cursor:
    """A position in ``view``, which may hold only the beginning of what ends at ``end``.

    Every method takes the name of the field it reads, for the refusal. What lies beyond the end is
    invalid; what lies beyond the view alone is :class:`HeaderCutOff`.
    """

    __slots__ = ("_end", "_view", "position")

    def __init__(self, view: memoryview, end: int) -> None:
        self._view = view[:end]
        self._end = end
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return self._end - self.position

    def skip(self, size: int, field: str) -> int:
        """Pass over ``size`` bytes and return where they began."""
        start = self.position
        if size > len(self._view) - start:
            raise self._beyond(start + size, field)
        self.position = start + size
        return start

    def u32(self, field: str) -> int:
        """Read an unsigned 32-bit number."""
        return int(_U32.unpack_from(self._view, self.skip(4, field))[0])

    def u64(self, field: str) -> int:
        """Read an unsigned 64-bit number."""
        return int(_U64.unpack_from(self._view, self.skip(8, field))[0])

    def unpack(self, form: str, field: str) -> tuple[int | float | bool, ...]:
        """Read numbers by a struct format, little-endian."""
        start = self.skip(struct.calcsize(f"<{form}"), field)
        return struct.unpack_from(f"<{form}", self._view, start)

    def string(self, field: str, *, limit: int | None = None) -> bytes:
        """Read a string: its length, then its bytes. ``limit`` is the longest that is taken."""
        size = self.u64(field)
        if limit is not None and size > limit:
            raise invalid(field, f"is {size} bytes long; at most {limit} are allowed")
        return self.raw(size, field)

    def raw(self, size: int, field: str) -> bytes:
        """Copy the next ``size`` bytes."""
        start = self.skip(size, field)
        return bytes(self._view[start : start + size])

    def strings(self, count: int, field: str) -> bytes:
        """Walk ``count`` strings without decoding them and return their bytes, lengths included.

        The loop is the reader's hot one (a vocabulary has hundreds of thousands), so it does not
        check each step: a length that leads outside makes the next read, or the end, fail.
        """
        if count > self.left // 8:
            raise self._beyond(self.position + 8 * count, field)
        view, position = self._view, self.position
        length_at = _U64.unpack_from
        try:
            for _ in repeat(None, count):
                position += 8 + length_at(view, position)[0]
        except (struct.error, OverflowError) as error:
            raise self._beyond(position + 8, field) from error
        return self.raw(position - self.position, field)

    def _beyond(self, wanted_end: int, field: str) -> RunnerError:
        if wanted_end <= self._end:
            return HeaderCutOff(field)
        return invalid(
            field,
            f"runs past the end: it needs {wanted_end - self._end} bytes more than there are",
            hint="the file is cut short or damaged; get it again from its source",
        )
