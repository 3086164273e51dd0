"""One connection: the asyncio protocol that feeds the HTTP machine, and its deadlines.

A session moves bytes and keeps time; what is said on it is ``conversation``'s affair. At any
moment it waits for at most one thing, until ``_deadline_s``: for bytes (:meth:`Session.more`), for
the client to take bytes (:meth:`Session.drained`), or to be closed. The server calls
:meth:`Session.tick` for all sessions from one timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
import time
from collections.abc import Callable
from typing import cast

from runner import http
from runner.errors import Kind, RunnerError
from runner.net.limits import Limits

_INET = (socket.AF_INET, socket.AF_INET6)
_UNSENT_LIMIT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # tcp(7)
_LINGER_NOT = struct.pack("ii", 1, 0)  # struct linger: on, for 0 seconds


class Session(asyncio.BufferedProtocol):
    """A connection as the server sees it. ``start`` is called once, when it is made.

    A BufferedProtocol, because asyncio receives for a plain one into 256 KiB that the C library
    maps and unmaps each time: 20 us, a third of a small request. ``inlet`` is what it receives
    into instead. All sessions of a loop may share one: a selector loop fills it and hands it over
    in one go.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        inlet: memoryview,
        peer: str,
        is_local: bool,
        local_address: str,
        start: Callable[[Session], None],
        on_over: Callable[[Session], None],
    ) -> None:
        self._inlet = inlet
        self.http = http.Connection(http.Role.SERVER, limits.message)
        self.limits = limits
        self.peer = peer
        self.is_local = is_local
        self.local_address = local_address
        self.is_lost = False  # nothing written can arrive
        self.gone = asyncio.Event()  # the client closed its sending side, or all
        self.idle_since_s: float | None = None  # when the wait for the next request began
        self.beat: Callable[[float], None] | None = None  # told the time at every tick
        self._start = start
        self._on_over = on_over
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self.is_behind = False  # drained() has something to wait for, or to raise
        self._caught_up = asyncio.Event()
        self._is_reading_paused = False
        self._is_closing = False
        self._is_stalled = False
        self._is_over = False  # the connection is lost and the task has ended
        self._late = ""  # what to tell a client whose bytes come too late
        self._deadline_s = math.inf

    # ---- asyncio.BufferedProtocol ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        high = self.limits.write_high_water_bytes
        self._transport.set_write_buffer_limits(high=high)
        connection = transport.get_extra_info("socket")
        if _UNSENT_LIMIT is not None and connection.family in _INET:
            # Else the kernel takes 4 MB of a stream that nobody reads, before we hear of it.
            with contextlib.suppress(OSError):  # reset already, on a Mac
                connection.setsockopt(socket.IPPROTO_TCP, _UNSENT_LIMIT, high)
        self._start(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to receive."""
        return self._inlet

    def buffer_updated(self, nbytes: int) -> None:
        """Feed the machine, wake who waits; hold the peer back when nobody does."""
        if self._is_closing:
            return
        self.http.receive(self._inlet[:nbytes])
        arrival = self._arrival
        if arrival is not None:
            if not arrival.done():
                arrival.set_result(None)
        elif self.http.buffered_bytes > self.limits.read_high_water_bytes:
            self._transport.pause_reading()
            self._is_reading_paused = True

    def eof_received(self) -> bool:
        """Note that the peer sends no more. It may still read: the connection stays open."""
        self.http.receive(b"")
        self.gone.set()
        self._wake()
        return not self._is_closing

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake everything that waits for the peer."""
        self.is_lost = True
        self.http.receive(b"")
        self.gone.set()
        self.is_behind = True
        self._caught_up.set()
        self._wake()
        self._deadline_s = math.inf
        self._check_over()

    def pause_writing(self) -> None:
        """Let senders wait: the write buffer is over its high-water mark."""
        self.is_behind = True
        self._caught_up.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self.is_behind = False
        self._caught_up.set()

    # ---- for the conversation --------------------------------------------------------------------

    async def more(self, deadline_s: float, *, late: str = "") -> None:
        """Wait until the peer sent bytes or closed.

        After the deadline the connection is closed; or, if there are words for it in ``late``,
        ``http.ProtocolError`` (408) is raised with them.
        """
        if self.is_lost:
            return
        self._resume_reading()
        self._arrival = self._loop.create_future()
        self._deadline_s = deadline_s
        self._late = late
        try:
            await self._arrival
        finally:
            self._arrival = None
            self._deadline_s = math.inf

    def write(self, data: bytes) -> None:
        """Send bytes, at once as far as the socket takes them."""
        if data and not self.is_lost and not self._is_closing:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait while the peer is behind. Raise ``RunnerError``: TIMEOUT, CANCELLED."""
        if self.is_behind and not self.is_lost:
            self._deadline_s = time.monotonic() + self.limits.write_stall_s
            try:
                await self._caught_up.wait()
            finally:
                self._deadline_s = math.inf
        if self._is_stalled:
            raise RunnerError(Kind.TIMEOUT, "the client took nothing for too long and was cut off")
        if self.is_lost:
            raise RunnerError(Kind.CANCELLED, "the client closed the connection")

    def close(self) -> None:
        """Close so that the peer can read all that was sent.

        To close a socket with unread input resets the connection, and the reset may overtake our
        last response. So only our side is closed; input is dropped until the peer closes too, or
        the time to linger is over.
        """
        if self.is_lost or self._is_closing:
            return
        self._is_closing = True
        is_behind = self._transport.get_write_buffer_size() > 0
        self._deadline_s = time.monotonic() + (
            self.limits.write_stall_s if is_behind else self.limits.linger_s
        )
        if self.gone.is_set():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # the peer has reset the connection, and asyncio does not know yet
            self._transport.abort()
            return
        self._resume_reading()

    def abort(self) -> None:
        """Reset the connection: what was not sent is dropped, here and in the kernel."""
        if not self.is_lost:
            self._is_closing = True
            with contextlib.suppress(OSError):  # the peer may have been faster
                self._transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT
                )
            self._transport.abort()

    # ---- for the server --------------------------------------------------------------------------

    def run(self, conversation: asyncio.Task[None]) -> None:
        """Own the task that talks on this connection."""
        self._task = conversation
        conversation.add_done_callback(self._settle_task)

    def close_if_idle(self) -> None:
        """Close unless a request is being received or answered."""
        if self.idle_since_s is not None and not self.http.buffered_bytes:
            self.idle_since_s = None
            self._transport.close()

    def cut(self) -> None:
        """Cancel the conversation; without one, drop the connection."""
        if self._task is None or self._task.done():
            self.abort()
        else:
            self._task.cancel()

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        if now_s >= self._deadline_s:
            self._expire()
        elif self.beat is not None:
            self.beat(now_s)

    def _expire(self) -> None:
        self._deadline_s = math.inf
        if self._is_closing:
            self._transport.abort()  # without a reset: the kernel may still deliver our last bytes
        elif self._arrival is None:
            self._is_stalled = True
            self.abort()
        elif not self._late:
            self._transport.close()
        elif not self._arrival.done():
            self._arrival.set_exception(http.ProtocolError(408, self._late))

    def _resume_reading(self) -> None:
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _settle_task(self, task: asyncio.Task[None]) -> None:
        self._check_over()

    def _check_over(self) -> None:
        is_over = self.is_lost and (self._task is None or self._task.done())
        if is_over and not self._is_over:
            self._is_over = True
            self._on_over(self)
