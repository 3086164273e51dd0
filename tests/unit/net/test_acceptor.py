"""Accepting with no file descriptor left: told once, room is asked for, and tried again (A17)."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from runner.net.acceptor import Acceptor


class Starved(socket.socket):
    """A listener that fails to accept a number of times, as with no descriptor left."""

    failures = 0

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def listening(failures: int) -> Starved:
    listener = Starved()
    listener.failures = failures
    listener.setblocking(False)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


async def accept_one(listener: Starved, *, asked: list[bool]) -> None:
    """Connect, and return when the connection was admitted."""
    admitted = asyncio.Event()

    def admit(connection: socket.socket, _address: object) -> None:
        connection.close()
        admitted.set()

    def make_room() -> bool:
        asked.append(True)
        return False

    acceptor = Acceptor(admit, make_room=make_room)
    acceptor.add(listener)
    _, writer = await asyncio.open_connection(*listener.getsockname())
    async with asyncio.timeout(10):
        await admitted.wait()
    writer.close()
    acceptor.close()


def test_a_connection_is_admitted() -> None:
    asked: list[bool] = []
    asyncio.run(accept_one(listening(0), asked=asked))
    assert asked == []


def test_without_descriptors_it_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[bool] = []
    asyncio.run(accept_one(listening(2), asked=asked))
    assert asked == [True, True]
    assert caplog.messages == ["cannot accept connections for now: Too many open files"]


def test_while_paused_connections_wait_in_the_backlog() -> None:
    admitted: list[bool] = []

    def admit(connection: socket.socket, _address: object) -> None:
        connection.close()
        admitted.append(True)

    async def scenario() -> None:
        listener = listening(0)
        acceptor = Acceptor(admit, make_room=lambda: False)
        acceptor.pause()
        acceptor.pause()
        acceptor.add(listener)
        _, writer = await asyncio.open_connection(*listener.getsockname())
        await asyncio.sleep(0.02)
        assert admitted == []
        acceptor.resume()
        async with asyncio.timeout(10):
            while not admitted:
                await asyncio.sleep(0.01)
        writer.close()
        acceptor.close()

    asyncio.run(scenario())


def test_closing_ends_the_tries() -> None:
    async def scenario() -> None:
        listener = listening(1)
        acceptor = Acceptor(lambda *_: None, make_room=lambda: False)
        acceptor.add(listener)
        _, writer = await asyncio.open_connection(*listener.getsockname())
        while listener.failures:
            await asyncio.sleep(0.01)
        acceptor.close()
        writer.close()
        assert listener.fileno() == -1

    asyncio.run(scenario())
