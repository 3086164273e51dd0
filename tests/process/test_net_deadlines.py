"""Clients that are slow, or do nothing: each part of an exchange has its deadline (A5, A6, E13)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from runner import http, net
from runner.errors import Kind, RunnerError
from tests.support.net_client import QUICK, Client, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


async def echo(exchange: net.Exchange) -> None:
    await exchange.respond(200, [], await exchange.read_body(100_000))


async def drip(client: Client, data: bytes, *, every_s: float) -> None:
    for byte in data:
        client.send(bytes([byte]))
        await asyncio.sleep(every_s)


def test_a_head_that_drips_is_refused_at_its_deadline_while_others_are_served() -> None:
    async def scenario() -> None:
        async with (
            serving(echo, limits=replace(QUICK, head_s=0.15)) as site,
            site.client() as slow,
            site.client() as other,
        ):
            dripping = asyncio.create_task(drip(slow, GET * 9, every_s=0.02))
            started_s = time.monotonic()
            assert (await other.ask(GET))[0] == 200
            assert time.monotonic() - started_s < 0.1
            status, headers, body = await slow.answer()
            assert (status, headers.get("connection")) == (408, "close")
            assert b"the head of the request took too long" in body
            assert 0.1 < time.monotonic() - started_s < 1
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)

    asyncio.run(scenario())


def test_a_connection_without_a_byte_is_closed_without_a_word() -> None:
    async def scenario() -> None:
        async with (
            serving(echo, limits=replace(QUICK, head_s=0.05)) as site,
            site.client() as client,
        ):
            assert await client.rest() == b""
            assert site.records == []

    asyncio.run(scenario())


def test_a_kept_connection_may_be_idle_for_longer_than_a_head() -> None:
    async def scenario() -> None:
        limits = replace(QUICK, head_s=0.05, idle_s=0.2)
        async with serving(echo, limits=limits) as site, site.client() as client:
            await client.ask(GET)
            await asyncio.sleep(0.1)
            assert (await client.ask(GET))[0] == 200
            assert await client.rest() == b""

    asyncio.run(scenario())


def test_many_idle_connections_are_closed_and_forgotten() -> None:
    async def scenario() -> None:
        async with serving(echo, limits=replace(QUICK, head_s=0.3)) as site:
            pairs = await asyncio.gather(
                *(asyncio.open_connection("127.0.0.1", site.port) for _ in range(200))
            )
            async with site.client() as client:
                assert (await client.ask(GET))[0] == 200
            assert await asyncio.gather(*(reader.read() for reader, _ in pairs)) == [b""] * 200
            for _, writer in pairs:
                writer.close()
            async with asyncio.timeout(10):
                while site.server.connections:
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "limits",
    [
        replace(QUICK, body_grace_s=0.05, body_floor_bytes_per_s=200),
        replace(QUICK, body_s=0.1),
    ],
    ids=["below the floor rate", "over the whole time"],
)
def test_a_body_that_drips_is_refused(limits: net.Limits) -> None:
    reached: list[bytes] = []

    async def waits(exchange: net.Exchange) -> None:
        reached.append(await exchange.read_body(10_000))

    async def scenario() -> None:
        async with serving(waits, limits=limits) as site, site.client() as client:
            client.send(POST)
            dripping = asyncio.create_task(drip(client, b"x" * 999, every_s=0.02))
            status, headers, body = await client.answer()
            assert (status, headers.get("connection")) == (408, "close")
            assert b"the body of the request took too long" in body
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)
            assert reached == []

    asyncio.run(scenario())


def test_a_body_above_the_floor_rate_may_take_longer_than_the_grace() -> None:
    async def scenario() -> None:
        limits = replace(QUICK, body_grace_s=0.05, body_floor_bytes_per_s=1000)
        async with serving(echo, limits=limits) as site, site.client() as client:
            client.send(POST)
            for _ in range(10):
                client.send(b"x" * 100)
                await asyncio.sleep(0.02)
            assert (await client.answer())[2] == b"x" * 1000

    asyncio.run(scenario())


def test_e13_a_reader_that_takes_nothing_is_cut_off_with_little_buffered() -> None:
    """E13: a zero window; the sender is held back, then told, and the connection is reset."""
    told: list[tuple[Kind, int]] = []

    async def floods(exchange: net.Exchange) -> None:
        stream = await exchange.open_stream(200, [])
        try:
            while True:
                await stream.send(b"x" * 10_000)
        except RunnerError as error:
            told.append((error.kind, stream.sent_bytes))
            raise

    async def scenario() -> None:
        limits = replace(QUICK, write_stall_s=0.1, write_high_water_bytes=20_000)
        async with serving(floods, limits=limits) as site, site.client() as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(GET)
            async with asyncio.timeout(10):
                while site.server.connections or not told:
                    await asyncio.sleep(0.01)
            [(kind, sent_bytes)] = told
            assert kind is Kind.TIMEOUT
            # What the kernel received for the reader (6 MB at most), and little that waits here.
            assert sent_bytes < 7_000_000

    asyncio.run(scenario())


def test_a_slow_reader_that_reads_gets_everything() -> None:
    size_bytes = 8_000_000

    async def sends(exchange: net.Exchange) -> None:
        await exchange.respond(200, [], b"x" * size_bytes)

    async def scenario() -> None:
        limits = replace(QUICK, write_stall_s=1.0, linger_s=0.05)
        async with serving(sends, limits=limits) as site, site.client() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            await asyncio.sleep(0.15)
            assert (await client.rest()).count(b"x") >= size_bytes

    asyncio.run(scenario())


def test_a_client_that_never_closes_is_closed_after_the_linger() -> None:
    async def scenario() -> None:
        async with (
            serving(echo, limits=replace(QUICK, linger_s=0.05)) as site,
            site.client() as client,
        ):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            await client.answer()
            async with asyncio.timeout(10):
                while site.server.connections:
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_what_nobody_wants_to_read_is_left_to_the_peer() -> None:
    """A client that pipelines without end fills its own buffers, not ours."""
    release = asyncio.Event()

    async def waits(exchange: net.Exchange) -> None:
        await release.wait()
        await exchange.respond(204, [])

    async def scenario() -> None:
        limits = replace(QUICK, read_high_water_bytes=10_000)
        async with serving(waits, limits=limits) as site, site.client() as client:
            client.send(GET * 1_000_000)
            await asyncio.sleep(0.1)
            assert client.writer.transport.get_write_buffer_size() > 1_000_000
            release.set()
            for _ in range(3):
                assert (await client.answer())[0] == 204
            client.writer.transport.abort()

    asyncio.run(scenario())


def test_a_quiet_stream_beats_and_a_busy_one_does_not() -> None:
    async def streams(exchange: net.Exchange) -> None:
        stream = await exchange.open_stream(200, [], heartbeat=http.sse.HEARTBEAT)
        if exchange.request.path == "/busy":
            for _ in range(30):
                await stream.send(b"data: x\n\n")
                await asyncio.sleep(0.01)
        else:
            await asyncio.sleep(0.3)
        await stream.finish()

    async def scenario() -> None:
        limits = replace(QUICK, heartbeat_s=0.1)
        async with serving(streams, limits=limits) as site, site.client() as client:
            _, _, quiet = await client.ask(GET)
            assert quiet in (b":\n\n" * 2, b":\n\n" * 3)
            _, _, busy = await client.ask(b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
            assert busy == b"data: x\n\n" * 30

    asyncio.run(scenario())
