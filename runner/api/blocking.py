"""Bodies as files for threads: reading and writing wait for the event loop, and so for the client.

Nothing is gathered in between: who reads slowly holds the other side back.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

from runner import http
from runner.errors import Kind, RunnerError
from runner.net import Exchange

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

T = TypeVar("T")

PIECE_BYTES = 1024 * 1024  # what crosses between thread and loop at once


class _Crossing:
    """Runs coroutines in the loop for one thread, until :meth:`close` ends that."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending: concurrent.futures.Future[Any] | None = None
        self._is_closed = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait in a thread for a coroutine of the loop; raise CANCELLED when it is closed."""
        if self._is_closed:  # a file that is collected as garbage flushes, in any thread
            coroutine.close()
            raise _left()
        pending = asyncio.run_coroutine_threadsafe(self._unless_closed(coroutine), self._loop)
        self._pending = pending
        try:
            return pending.result()
        except concurrent.futures.CancelledError:
            raise _left() from None

    def close(self) -> None:
        """End what is waited for, and refuse what comes; called in the loop."""
        self._is_closed = True
        if self._pending is not None:
            self._pending.cancel()

    async def _unless_closed(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._is_closed:
            coroutine.close()
            raise _left()
        return await coroutine


class BodyReader(io.RawIOBase):
    """The body of a request, read piece by piece. Make it in the loop; read it in one thread."""

    def __init__(self, next_piece: Callable[[], Coroutine[Any, Any, bytes]]) -> None:
        """``next_piece`` gives ``b""`` at the end."""
        super().__init__()
        self._next_piece = next_piece
        self._crossing = _Crossing()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Say that it is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Wait for a piece; 0 at the end."""
        room = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = memoryview(self._crossing.run(self._gather()))
        count = min(len(room), len(self._rest))
        room[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def give_up(self) -> None:
        """End a read that waits; called in the loop."""
        self._crossing.close()

    async def _gather(self) -> bytes:
        """Collect pieces: to cross over costs more than to copy."""
        pieces, size_bytes = [], 0
        try:
            while size_bytes < PIECE_BYTES and (piece := await self._next_piece()):
                pieces.append(piece)
                size_bytes += len(piece)
        except http.ProtocolError as fault:
            raise RunnerError(Kind.INVALID_REQUEST, fault.message) from None
        return b"".join(pieces)


class AnswerWriter(io.RawIOBase):
    """The body of an answer. Make it in the loop; write to it in one thread."""

    def __init__(self, send: Callable[[bytes], Coroutine[Any, Any, None]]) -> None:
        super().__init__()
        self._send = send
        self._crossing = _Crossing()

    def writable(self) -> bool:
        """Say that it is."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Send, and wait while the client is behind."""
        content = bytes(data)
        self._crossing.run(self._send(content))
        return len(content)

    def give_up(self) -> None:
        """End a write that waits; called in the loop."""
        self._crossing.close()


@asynccontextmanager
async def body_file(exchange: Exchange) -> AsyncIterator[IO[bytes]]:
    """Give the body of a request as a file, until the context ends."""
    reader = BodyReader(exchange.next_piece)
    try:
        yield io.BufferedReader(reader, PIECE_BYTES)
    finally:
        reader.give_up()


def _left() -> RunnerError:
    return RunnerError(Kind.CANCELLED, "the client left before the transfer was over")
