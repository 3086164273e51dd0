"""A server that may open very few files. Run as a program: prints its port, then serves."""

from __future__ import annotations

import asyncio
import resource
import signal
from dataclasses import replace

from runner import net
from tests.support.net_client import QUICK, tell_error

MAX_FILES = 64


async def handle(exchange: net.Exchange) -> None:
    stream = await exchange.open_stream(200, [])
    if exchange.request.path == "/stream":
        while not exchange.is_gone:
            await stream.send(b".")
            await asyncio.sleep(0.01)
    await stream.finish()


async def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_FILES, MAX_FILES))
    server = net.Server(handle, replace(QUICK, evictable_idle_s=0.2), on_error=tell_error)
    [(_, port)] = await server.listen_tcp("127.0.0.1", 0)
    print(port, flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.drain(0.1)


if __name__ == "__main__":
    asyncio.run(main())
