"""The two servers that ``http_core`` compares: ``python -m benchmarks.http_programs NAME PORT``.

Both answer ``/`` with the same small JSON, and ``/events?COUNT`` with so many Server-Sent Events
from one source that all readers share. Both run on asyncio's own loop, without an access log.
An event goes out in each server's own way: ours is written from where it comes, as tokens are; an
ASGI application has a task for each reader, which waits for the event and then for ``send``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from runner.net import Exchange, Limits, Server

BODY = b'{"object":"list","data":[{"id":"ai/smollm2","object":"model","owned_by":"docker"}]}'
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
TICK_S = 0.02
READERS = 512

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


class Source:
    """Gives all its readers one event a tick: those that wait, and those that are called."""

    def __init__(self) -> None:
        self._ticked = asyncio.Event()
        self._taps: set[Callable[[bytes], None]] = set()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            ticked, self._ticked = self._ticked, asyncio.Event()
            ticked.set()
            for tap in list(self._taps):
                tap(EVENT)

    async def events(self, count: int) -> AsyncIterator[bytes]:
        """Yield so many events."""
        for _ in range(count):
            await self._ticked.wait()
            yield EVENT

    async def feed(self, write: Callable[[bytes], None], count: int) -> None:
        """Call ``write`` with so many events."""
        over = asyncio.get_running_loop().create_future()
        left = count

        def tap(event: bytes) -> None:
            nonlocal left
            write(event)
            left -= 1
            if not left:
                self._taps.discard(tap)
                over.set_result(None)

        self._taps.add(tap)
        await over


async def ours(port: int) -> None:
    """Serve by ``runner.net``."""
    source = Source()

    async def handle(exchange: Exchange) -> None:
        if exchange.request.path == "/":
            await exchange.respond(200, [("Content-Type", "application/json")], BODY)
            return
        stream = await exchange.open_stream(200, [("Content-Type", "text/event-stream")])
        await source.feed(stream.write, int(exchange.request.query))
        await stream.finish()

    async def fail(exchange: Exchange, error: Exception) -> None:
        raise error

    limits = Limits(max_connections=READERS, max_connections_per_peer=READERS)
    server = Server(handle, limits, on_error=fail)
    await server.listen_tcp("127.0.0.1", port)
    await source.run()


async def uvicorn(port: int) -> None:
    """Serve by uvicorn with httptools."""
    library = importlib.import_module("uvicorn")  # for this benchmark alone: no stubs, no import
    source = Source()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_plain = scope["path"] == "/"
        kind = b"application/json" if is_plain else b"text/event-stream"
        headers = [(b"content-type", kind)]
        if is_plain:
            headers.append((b"content-length", b"%d" % len(BODY)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if not is_plain:
            async for event in source.events(int(scope["query_string"])):
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": BODY if is_plain else b""})

    config = library.Config(
        app, port=port, loop="asyncio", http="httptools", ws="none", lifespan="off",
        access_log=False, log_level="warning",
    )  # fmt: skip
    ticking = asyncio.create_task(source.run())
    await library.Server(config).serve()
    ticking.cancel()


PROGRAMS = {"ours": ours, "uvicorn": uvicorn}

if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(PROGRAMS[sys.argv[1]](int(sys.argv[2])))
