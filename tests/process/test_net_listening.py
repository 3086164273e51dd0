"""Listening on TCP and unix sockets: what is in the way, and what is left behind (E14)."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
import sys
from pathlib import Path

import pytest

from runner import net
from runner.errors import Kind, RunnerError
from tests.support.net_client import QUICK, Client, tell_error

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def tells_peer(exchange: net.Exchange) -> None:
    await exchange.respond(200, [], f"{exchange.peer} {exchange.is_local}".encode())


def new_server() -> net.Server:
    return net.Server(tells_peer, QUICK, on_error=tell_error)


async def ask_unix(path: Path) -> bytes:
    client = Client(*await asyncio.open_unix_connection(path))
    _, _, body = await client.ask(GET)
    await client.close()
    return body


def test_a_unix_socket_is_private_and_removed_at_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "run" / "runner.sock"
        server = new_server()
        await server.listen_unix(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert await ask_unix(path) == b"unix True"
        await server.drain(0.5)
        assert not path.exists()

    asyncio.run(scenario())


def test_e14_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "runner.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))

    async def scenario() -> None:
        server = new_server()
        await server.listen_unix(path)
        assert await ask_unix(path) == b"unix True"
        await server.drain(0.5)

    asyncio.run(scenario())


def test_e14_a_live_socket_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "runner.sock"

    async def scenario() -> None:
        first, second = new_server(), new_server()
        await first.listen_unix(path)
        with pytest.raises(RunnerError, match=re.escape(str(path))) as caught:
            await second.listen_unix(path)
        assert caught.value.kind is Kind.CONFLICT
        await second.drain(0.1)
        assert await ask_unix(path) == b"unix True"
        await first.drain(0.5)

    asyncio.run(scenario())


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "runner.sock"
    path.write_text("precious")

    async def scenario() -> None:
        with pytest.raises(RunnerError, match="is not a socket") as caught:
            await new_server().listen_unix(path)
        assert caught.value.kind is Kind.CONFLICT

    asyncio.run(scenario())
    assert path.read_text() == "precious"


def test_a_socket_file_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "runner.sock"

    async def scenario() -> None:
        first, second = new_server(), new_server()
        await first.listen_unix(path)
        path.unlink()
        await second.listen_unix(path)
        await first.drain(0.1)
        assert await ask_unix(path) == b"unix True"
        await second.drain(0.5)
        assert not path.exists()

    asyncio.run(scenario())


def test_a_path_that_is_too_long_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(RunnerError, match="cannot listen on the unix socket") as caught:
            await new_server().listen_unix(tmp_path / ("x" * 200))
        assert caught.value.kind is Kind.UNAVAILABLE

    asyncio.run(scenario())


def test_e14_a_port_in_use_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = new_server()
        [(host, port)] = await first.listen_tcp("127.0.0.1", 0)
        with pytest.raises(RunnerError, match=f"127.0.0.1:{port} is already in use") as caught:
            await new_server().listen_tcp(host, port)
        assert caught.value.kind is Kind.CONFLICT
        assert "--port" in str(caught.value)
        if sys.platform == "linux":
            assert f"process {os.getpid()}" in caught.value.message
        await first.drain(0.1)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("host", "words"),
    [("192.0.2.1", "cannot listen on 192.0.2.1:0"), ("a..b", "no address to listen on")],
)
def test_an_address_of_another_machine_is_refused(host: str, words: str) -> None:
    async def scenario() -> None:
        with pytest.raises(RunnerError, match=words) as caught:
            await new_server().listen_tcp(host, 0)
        assert caught.value.kind is Kind.UNAVAILABLE

    asyncio.run(scenario())


def test_a_restarted_server_gets_its_port_back() -> None:
    async def scenario() -> None:
        port = 0
        for _ in range(2):
            server = new_server()
            [(_, port)] = await server.listen_tcp("127.0.0.1", port)
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            assert (await client.ask(GET))[0] == 200
            await server.drain(0.5)
            await client.close()

    asyncio.run(scenario())
