"""The end of a server: what runs may finish, what waits is closed, what lasts is cut (E6)."""

from __future__ import annotations

import asyncio
import time

import pytest

from runner import net
from tests.support.net_client import QUICK, Running, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_a_running_exchange_finishes_and_is_the_last_of_its_connection() -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def waits(exchange: net.Exchange) -> None:
            await release.wait()
            await exchange.respond(200, [], b"done")

        async with serving(waits) as site, site.client() as client:
            client.send(GET)
            await asyncio.sleep(0.02)
            draining = asyncio.create_task(site.server.drain(5))
            await asyncio.sleep(0.02)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", site.port)
            release.set()
            status, headers, body = await client.answer()
            assert (status, body, headers.get("connection")) == (200, b"done", "close")
            assert await client.rest() == b""
            await client.close()
            await draining

    asyncio.run(scenario())


def test_idle_connections_do_not_hold_up_the_end() -> None:
    async def hello(exchange: net.Exchange) -> None:
        await exchange.respond(204, [])

    async def scenario() -> None:
        async with serving(hello) as site, site.client() as used, site.client() as unused:
            await used.ask(GET)
            started_s = time.monotonic()
            await site.server.drain(5)
            assert time.monotonic() - started_s < 1
            assert await used.rest() == b""
            assert await unused.rest() == b""

    asyncio.run(scenario())


def test_e6_a_stream_that_lasts_is_cancelled_and_may_say_a_last_word() -> None:
    async def streams(exchange: net.Exchange) -> None:
        stream = await exchange.open_stream(200, [])
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await stream.send(b"bye")
            await stream.finish()
            raise

    async def scenario() -> None:
        async with serving(streams) as site, site.client() as client:
            client.send(GET)
            await client.reader.readuntil(b"\r\n\r\n")
            _, rest = await asyncio.gather(site.server.drain(0.05), client.rest())
            assert rest == b"3\r\nbye\r\n0\r\n\r\n"
            assert site.records[0].status == 200

    asyncio.run(scenario())


def test_a_stream_without_a_last_word_ends_broken() -> None:
    async def streams(exchange: net.Exchange) -> None:
        await exchange.open_stream(200, [])
        await asyncio.sleep(60)

    async def scenario() -> None:
        async with serving(streams) as site, site.client() as client:
            client.send(GET)
            await client.reader.readuntil(b"\r\n\r\n")
            _, rest = await asyncio.gather(site.server.drain(0.05), client.rest())
            assert rest == b""

    asyncio.run(scenario())


def test_a_handler_that_ignores_cancelling_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def deaf(exchange: net.Exchange) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        async with serving(deaf) as site, site.client() as client:
            client.send(GET)
            await asyncio.sleep(0.02)
            await site.server.drain(0.01)
            assert "1 handlers did not end when cancelled" in caplog.text
            release.set()
            await _until_empty(site)

    asyncio.run(scenario())


def test_a_head_that_is_arriving_is_not_waited_for_for_ever() -> None:
    async def never(exchange: net.Exchange) -> None:
        raise AssertionError

    async def scenario() -> None:
        async with serving(never) as site, site.client() as client:
            client.send(b"GET / HTTP/1.1\r\n")
            await asyncio.sleep(0.02)
            await site.server.drain(0.05)
            assert await client.rest() in (b"", b"<reset>")

    asyncio.run(scenario())


def test_draining_twice_is_draining_once() -> None:
    async def hello(exchange: net.Exchange) -> None:
        await exchange.respond(204, [])

    async def scenario() -> None:
        async with serving(hello) as site:
            await asyncio.gather(site.server.drain(1), site.server.drain(0))

    asyncio.run(scenario())


async def _until_empty(site: Running) -> None:
    async with asyncio.timeout(10):
        while site.server.connections:
            await asyncio.sleep(QUICK.tick_s)
