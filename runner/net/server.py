"""Listens, keeps the books of connections, checks deadlines, drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from runner import http
from runner.net import listener
from runner.net.acceptor import Acceptor
from runner.net.conversation import converse, refuse
from runner.net.limits import Limits
from runner.net.peer import Address, Peer, describe_peer
from runner.net.session import Session
from runner.net.site import AccessLog, Handler, OnError, Site

INLET_BYTES = 64 * 1024

_log = logging.getLogger(__name__)

_FULL = http.ProtocolError(503, "too many connections are open; try again in a second")
_RETRY_AFTER = (("Retry-After", "1"),)


class Server:
    """Serves one handler on any number of listeners. Made and used inside a running event loop."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        *,
        on_error: OnError,
        access_log: AccessLog | None = None,
    ) -> None:
        self._site = Site(handler, limits, on_error=on_error, access_log=access_log)
        self._loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(self._admit, make_room=self._make_room)
        self._inlet = memoryview(bytearray(INLET_BYTES))
        self._sessions: dict[Session, Peer] = {}
        self._refused: set[Session] = set()  # those of the sessions that only hear 503
        self._per_address: Counter[str] = Counter()
        self._attaching: set[asyncio.Task[None]] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._timer: asyncio.TimerHandle | None = None
        self._unix_files: list[listener.UnixFile] = []

    @property
    def connections(self) -> int:
        """How many connections are open, those that are being refused included."""
        return len(self._sessions)

    async def listen_tcp(self, host: str, port: int) -> list[tuple[str, int]]:
        """Listen on every address of ``host``; return (address, port) of each; port 0 picks one.

        Raises ``RunnerError``: ``CONFLICT`` when the port is taken, ``UNAVAILABLE`` when the
        address is not one of this machine or may not be used.
        """
        listeners = await listener.open_tcp(host, port)
        for each in listeners:
            self._acceptor.add(each)
        return [each.getsockname()[:2] for each in listeners]

    async def listen_unix(self, path: Path) -> None:
        """Listen on a unix socket of mode 0600, in place of a stale file that nobody listens on.

        Raises ``RunnerError``: ``CONFLICT`` when somebody does, ``UNAVAILABLE`` otherwise. The
        file is removed by :meth:`drain`.
        """
        opened = listener.open_unix(path)
        self._acceptor.add(opened)
        self._unix_files.append(listener.UnixFile.of(path))

    def adopt(self, listening: socket.socket) -> None:
        """Accept from a socket that somebody else opened; its file, if it has one, is theirs."""
        self._acceptor.add(listening)

    async def drain(self, grace_s: float) -> None:
        """Stop: no new connections, idle ones closed, running exchanges get ``grace_s``, then cut.

        Returns when every connection is closed and every task of the server has ended. Exchanges
        still running after ``grace_s`` are cancelled and have ``Limits.last_words_s`` for a last
        event. May be called again, with less patience, while it runs.
        """
        self._site.draining.set()
        self._acceptor.close()
        for file in self._unix_files:
            file.remove()
        await asyncio.gather(*self._attaching)
        for session in list(self._sessions):
            session.close_if_idle()
        last_words_s = self._site.limits.last_words_s
        if await self._is_empty_within(grace_s):
            return
        for session in list(self._sessions):
            session.cut()
        if await self._is_empty_within(last_words_s):
            return
        for session in list(self._sessions):
            session.abort()
        if not await self._is_empty_within(last_words_s):
            _log.error("%d handlers did not end when cancelled", len(self._sessions))

    # ---- connections -----------------------------------------------------------------------------

    def _admit(self, connection: socket.socket, address: Address) -> None:
        peer = describe_peer(address)
        if not self._is_over(peer):
            self._open(connection, peer, self._start_serving)
            self._per_address[peer.address] += 1
        elif len(self._refused) < self._site.limits.max_refusals:
            self._refused.add(self._open(connection, peer, self._start_refusing))
        else:
            connection.close()
        limits = self._site.limits
        if len(self._sessions) >= limits.max_connections + limits.max_refusals:
            self._acceptor.pause()

    def _is_over(self, peer: Peer) -> bool:
        limits = self._site.limits
        if peer.address and self._per_address[peer.address] >= limits.max_connections_per_peer:
            return True
        served = len(self._sessions) - len(self._refused)
        return served >= limits.max_connections and not self._make_room()

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest; return whether there is one.

        Not those that just came: their request is likely to be on its way.
        """
        idle = [
            (session.idle_since_s, session)
            for session in self._sessions
            if session.idle_since_s is not None
        ]
        since_s, oldest = min(idle, key=lambda pair: pair[0], default=(0.0, None))
        if oldest is None or time.monotonic() - since_s < self._site.limits.evictable_idle_s:
            return False
        oldest.close_if_idle()
        return True

    def _open(
        self, connection: socket.socket, peer: Peer, start: Callable[[Session], None]
    ) -> Session:
        session = Session(
            self._site.limits,
            inlet=self._inlet,
            peer=peer.label,
            is_local=peer.is_local,
            local_address=describe_peer(connection.getsockname()).address,
            start=start,
            on_over=self._forget,
        )
        self._sessions[session] = peer
        self._is_empty.clear()
        if self._timer is None:
            self._timer = self._loop.call_later(self._site.limits.tick_s, self._tick)
        attaching = self._loop.create_task(self._attach(session, connection))
        self._attaching.add(attaching)
        attaching.add_done_callback(self._attaching.discard)
        return session

    async def _attach(self, session: Session, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: session, connection)
        except OSError:  # it died before it was served
            connection.close()
            self._forget(session)

    def _start_serving(self, session: Session) -> None:
        session.run(self._loop.create_task(converse(session, self._site)))

    def _start_refusing(self, session: Session) -> None:
        refuse(session, self._site, _FULL, headers=_RETRY_AFTER)

    def _forget(self, session: Session) -> None:
        peer = self._sessions.pop(session)
        if session in self._refused:
            self._refused.remove(session)
        else:
            self._per_address[peer.address] -= 1
            if not self._per_address[peer.address]:
                del self._per_address[peer.address]
        if not self._site.is_draining:
            self._acceptor.resume()
        if not self._sessions:
            self._is_empty.set()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    # ---- time ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._site.limits.tick_s, self._tick)
        now_s = time.monotonic()
        for session in list(self._sessions):
            session.tick(now_s)

    async def _is_empty_within(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_empty.wait()
        return self._is_empty.is_set()
