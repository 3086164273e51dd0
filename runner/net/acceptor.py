"""Accepts connections, and survives having no file descriptor left for them."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from runner.net.peer import Address

_log = logging.getLogger(__name__)

_BURST = 64  # accepted in a row before other work gets its turn
_PAUSE_S = 0.1  # before another try with no descriptor left
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Hands the connections of some listeners to ``admit(socket, address)``.

    asyncio's own accept loop logs a traceback for each failed try and asks nobody to give up a
    descriptor; this one asks ``make_room`` and tells it once.
    """

    def __init__(
        self,
        admit: Callable[[socket.socket, Address], None],
        *,
        make_room: Callable[[], bool],
    ) -> None:
        self._admit = admit
        self._make_room = make_room
        self._loop = asyncio.get_running_loop()
        self._listeners: list[socket.socket] = []
        self._is_paused = False
        self._is_short = False  # of descriptors, and has said so
        self._retry: asyncio.TimerHandle | None = None

    def add(self, listener: socket.socket) -> None:
        """Accept from one more listener."""
        self._listeners.append(listener)
        if not self._is_paused:
            self._loop.add_reader(listener, self._accept, listener)

    def pause(self) -> None:
        """Leave new connections in the kernel's backlog."""
        if not self._is_paused:
            self._is_paused = True
            for listener in self._listeners:
                self._loop.remove_reader(listener)

    def resume(self) -> None:
        """Accept again."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._is_paused:
            self._is_paused = False
            for listener in self._listeners:
                self._loop.add_reader(listener, self._accept, listener)

    def close(self) -> None:
        """Close all listeners: the kernel refuses connections from now on."""
        self.pause()
        if self._retry is not None:
            self._retry.cancel()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_BURST):
            if self._is_paused:
                return
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                self._run_short(error)
                return
            self._is_short = False
            connection.setblocking(False)
            self._admit(connection, address)

    def _run_short(self, error: OSError) -> None:
        if not self._is_short:
            self._is_short = True
            _log.warning("cannot accept connections for now: %s", error.strerror)
        self._make_room()
        self.pause()
        self._retry = self._loop.call_later(_PAUSE_S, self.resume)
