"""A server on a loopback port for the length of a test, and a client that sends any bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from runner import http, net
from runner.errors import RunnerError

# Deadlines short enough for tests; those a test is about are shortened further by it.
QUICK = net.Limits(tick_s=0.01, linger_s=0.3, last_words_s=0.3)


class Client:
    """One connection. Reads responses with the strict client side of ``runner.http``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._connection = http.Connection(http.Role.CLIENT)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(self, data: bytes, *, method: str = "GET") -> tuple[int, http.Headers, bytes]:
        """Send bytes and return the next response: status, headers, body."""
        self.send(data)
        return await self.answer(method=method)

    async def answer(self, *, method: str = "GET") -> tuple[int, http.Headers, bytes]:
        """Return the response to a request that was sent."""
        connection = self._connection
        connection.send_request(method, "/", headers=[])
        head, body = None, b""
        while (event := connection.next_event()) is not http.END_OF_MESSAGE:
            if event is http.NEED_DATA:
                connection.receive(await self.reader.read(65536))
            elif isinstance(event, http.Response):
                head = event
            elif isinstance(event, http.Data):
                body += event.data
        assert head is not None
        if connection.may_cycle:
            connection.next_cycle()
        return head.status, head.headers, body

    async def rest(self) -> bytes:
        """Return all bytes until the server closes; a reset ends them too."""
        data = b""
        try:
            while piece := await self.reader.read(65536):
                data += piece
        except ConnectionResetError:
            data += b"<reset>"
        return data

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


@dataclass
class Running:
    """A server that is up, and what it told."""

    server: net.Server
    port: int
    records: list[net.AccessRecord] = field(default_factory=list)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        try:
            yield client
        finally:
            await client.close()


async def tell_error(exchange: net.Exchange, error: RunnerError) -> None:
    await exchange.respond(error.row.status, [], f"{error.kind}: {error.message}".encode())


@asynccontextmanager
async def serving(
    handler: net.Handler, *, limits: net.Limits = QUICK, grace_s: float = 0.5
) -> AsyncIterator[Running]:
    """Serve on a loopback port; afterwards drain, and see that no task is left."""
    records: list[net.AccessRecord] = []
    server = net.Server(handler, limits, on_error=tell_error, access_log=records.append)
    [(_, port)] = await server.listen_tcp("127.0.0.1", 0)
    try:
        yield Running(server, port, records)
    finally:
        await server.drain(grace_s)
        assert server.connections == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
