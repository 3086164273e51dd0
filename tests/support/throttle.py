"""A slow and unreliable line: a TCP proxy with latency, a rate for each connection, and cuts.

``python -m tests.support.throttle TARGET_PORT --round-trip-ms 50 --megabytes-per-s 20`` runs one in
a process of its own and prints its port; it ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

HOST = "127.0.0.1"
READ_BYTES = 64 * 1024


@dataclass(frozen=True)
class Line:
    """What the line is like. The rate holds for each direction of each connection."""

    round_trip_s: float = 0.0
    bytes_per_s: float = float("inf")

    @property
    def in_flight_bytes(self) -> int:
        """What fits on the line in one direction: more makes the sender wait."""
        if self.bytes_per_s == float("inf"):
            return 16 * 1024 * 1024
        return int(self.bytes_per_s * self.round_trip_s) + 4 * READ_BYTES


@dataclass
class Throttle:
    """A proxy to ``target_port`` on loopback, and what it has carried."""

    target_port: int
    line: Line = field(default_factory=Line)
    port: int = 0
    connections: int = 0
    sent_bytes: int = 0  # by clients
    cuts: list[int] = field(default_factory=list)  # at these totals of sent bytes, ascending
    working: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    async def serve(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._accept, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def cut_after(self, *more_bytes: int) -> None:
        """Reset whichever connection carries the byte, counted from now on, for each number."""
        self.cuts += [self.sent_bytes + more for more in more_bytes]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # Of a connection that has ended on one side nothing else keeps what works on it.
        task = asyncio.current_task()
        assert task is not None
        self.working.add(task)
        with contextlib.suppress(asyncio.CancelledError):  # the loop ends; streams would complain
            await self._relay(reader, writer)
        self.working.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        # A handshake is a round trip, too: the first byte leaves when the client knows of us.
        await asyncio.sleep(self.line.round_trip_s)
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self.target_port)
            writers.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, far_writer, is_up=True))
                group.create_task(self._carry(far_reader, writer, is_up=False))
        except* (OSError, _Cut):
            for each in writers:
                each.transport.abort()  # a reset, as a broken line gives
        finally:
            for each in writers:
                each.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        """Move one direction until its end."""
        loop = asyncio.get_running_loop()
        flying: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(
            max(1, self.line.in_flight_bytes // READ_BYTES)
        )

        async def depart() -> None:
            data = b"-"
            while data:
                data = await reader.read(READ_BYTES)
                if is_up:
                    self._count(len(data))
                await flying.put((loop.time() + self.line.round_trip_s / 2, data))

        async def arrive() -> None:
            free_at = 0.0  # when the last bit of what came before has passed
            while True:
                lands_at, data = await flying.get()
                if not data:
                    break
                free_at = max(free_at, lands_at) + len(data) / self.line.bytes_per_s
                await asyncio.sleep(max(0.0, free_at - loop.time()))
                writer.write(data)
                await writer.drain()
            with contextlib.suppress(OSError):
                writer.write_eof()

        async with asyncio.TaskGroup() as group:
            group.create_task(depart())
            group.create_task(arrive())

    def _count(self, size_bytes: int) -> None:
        self.sent_bytes += size_bytes
        if self.cuts and self.sent_bytes >= self.cuts[0]:
            del self.cuts[0]
            raise _Cut


class _Cut(Exception):
    """The line breaks here."""


@contextlib.contextmanager
def throttled(target_port: int, line: Line | None = None) -> Iterator[Throttle]:
    """Run a proxy in a thread of its own."""
    throttle = Throttle(target_port, line or Line())
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        stopped = asyncio.Event()
        server = await throttle.serve()
        started.set_result((asyncio.get_running_loop(), stopped))
        await stopped.wait()
        server.close()  # and not `async with`, which waits for idle connections, too

    thread = threading.Thread(target=asyncio.run, args=[run()], name="throttle")
    thread.start()
    loop, stopped = started.result()
    try:
        yield throttle
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()


async def _serve(throttle: Throttle) -> None:
    server = await throttle.serve()
    print(throttle.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


def main() -> None:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target_port", type=int)
    parser.add_argument("--round-trip-ms", type=float, default=0.0)
    parser.add_argument("--megabytes-per-s", type=float, default=float("inf"))
    options = parser.parse_args()
    line = Line(options.round_trip_ms / 1000, options.megabytes_per_s * 1e6)
    asyncio.run(_serve(Throttle(options.target_port, line)))


if __name__ == "__main__":
    main()
