"""Too many connections: told so, left in the backlog, or given the place of an idle one (A17)."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from runner import net
from tests.support.net_client import QUICK, Running, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
ROOT = Path(__file__).resolve().parents[2]


async def hello(exchange: net.Exchange) -> None:
    await asyncio.sleep(0.01)
    await exchange.respond(200, [], b"hello")


async def ask_once(site: Running) -> bytes:
    async with site.client() as client:
        client.send(LAST_GET)
        return await client.rest()


def test_beyond_the_cap_everybody_is_answered_and_a_live_stream_goes_on() -> None:
    async def streams_or_hello(exchange: net.Exchange) -> None:
        if exchange.request.path != "/stream":
            await hello(exchange)
            return
        stream = await exchange.open_stream(200, [])
        while len(answers) < 300:
            await stream.send(b".")
            await asyncio.sleep(0.01)
        await stream.finish()

    answers: list[bytes] = []

    async def ask(site: Running) -> None:
        answers.append(await ask_once(site))

    async def scenario() -> None:
        limits = replace(QUICK, max_connections=20, max_refusals=5, linger_s=5.0)
        async with serving(streams_or_hello, limits=limits) as site, site.client() as live:
            live.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            await live.reader.readline()
            await asyncio.gather(*(ask(site) for _ in range(300)))
            assert (await live.reader.readuntil(b"\r\n0\r\n\r\n")).count(b"<reset>") == 0

    asyncio.run(scenario())
    statuses = {answer.split(b"\r\n")[0] for answer in answers}
    assert statuses <= {b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Service Unavailable"}
    assert b"HTTP/1.1 200 OK" in statuses
    for answer in answers:
        assert answer.endswith(b"hello") or b"\r\nRetry-After: 1\r\n" in answer


def test_one_address_cannot_take_every_place() -> None:
    async def scenario() -> None:
        limits = replace(QUICK, max_connections_per_peer=2)
        async with serving(hello, limits=limits) as site:
            async with site.client() as one, site.client() as two, site.client() as three:
                assert (await one.ask(GET))[0] == 200
                assert (await two.ask(GET))[0] == 200
                assert (await three.ask(GET))[0] == 503
                assert (await one.ask(GET))[0] == 200
            while site.server.connections:
                await asyncio.sleep(0.01)
            async with site.client() as four:
                assert (await four.ask(GET))[0] == 200

    asyncio.run(scenario())


def test_over_the_refusals_of_one_address_connections_are_dropped() -> None:
    async def scenario() -> None:
        limits = replace(QUICK, max_connections_per_peer=1, max_refusals=1)
        async with serving(hello, limits=limits) as site, site.client() as one:
            assert (await one.ask(GET))[0] == 200
            async with site.client() as two, site.client() as three:
                assert (await two.answer())[0] == 503
                assert await three.rest() in (b"", b"<reset>")
            assert (await one.ask(GET))[0] == 200

    asyncio.run(scenario())


def test_an_idle_connection_gives_its_place_to_a_new_one() -> None:
    async def scenario() -> None:
        limits = replace(QUICK, max_connections=2, evictable_idle_s=0.05)
        async with (
            serving(hello, limits=limits) as site,
            site.client() as idle,
            site.client() as busy,
        ):
            assert (await idle.ask(GET))[0] == 200
            busy.send(b"GET / HTTP/1.1\r\n")
            await asyncio.sleep(0.1)
            async with site.client() as new:
                assert (await new.ask(GET))[0] == 200
            assert await idle.rest() == b""
            assert (await busy.ask(b"Host: a\r\n\r\n"))[0] == 200

    asyncio.run(scenario())


def test_e18_the_accept_loop_survives_without_file_descriptors() -> None:
    """The server may open 64 files and gets 100 connections; later clients are served."""
    command = [sys.executable, "-m", "tests.support.starved_server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            port = int(server.stdout.readline())
            live = socket.create_connection(("127.0.0.1", port), timeout=20)
            live.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            assert live.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
            crowd = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(100)]
            crowd[-1].sendall(LAST_GET)
            answer = crowd[-1].recv(1000)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert live.recv(1000).endswith(b"1\r\n.\r\n")
            for client in [live, *crowd]:
                client.close()
        finally:
            server.terminate()
            _, log = server.communicate(timeout=20)
    assert log.count("cannot accept connections for now: Too many open files") >= 1
    assert "Traceback" not in log
