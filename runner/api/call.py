"""One admitted request on its way through a handler: its parts, and the ways to answer it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from runner.api import faults, jsonbody
from runner.api.asking import ChatRequest
from runner.api.faults import Header
from runner.api.fields import Field
from runner.api.gate import Allowed
from runner.api.remote_media import RemoteMedia
from runner.errors import Kind, RunnerError
from runner.net import Exchange, Stream

T = TypeVar("T")
R = TypeVar("R", bound=ChatRequest)

# Reading a larger body holds the event loop long enough for other streams to notice.
INLINE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """A request that passed the gate and found its route."""

    exchange: Exchange
    name: str  # of the model in the path; empty on routes without one
    headers: list[Header]  # for every answer
    max_body_bytes: int
    allowed: Allowed  # what its key may do, for handlers that need more than their route
    remote_media: RemoteMedia

    @property
    def client(self) -> str:
        """Who asks, for fairness: an address without its port, or ``unix``."""
        return self.exchange.peer.rpartition(":")[0] or self.exchange.peer

    def query(self, field: Field[T]) -> T | None:
        """Return a parameter of the query, or None when it is absent."""
        pairs = parse_qsl(self.exchange.request.query, keep_blank_values=True)
        value = next((value for name, value in pairs if name == field.name), None)
        return None if value is None else field.read(value, field.name)

    def require_local(self, what: str, *, hint: str | None = None) -> None:
        """Raise FORBIDDEN, with ``what`` is not done, unless the client is on this machine."""
        if not self.exchange.is_local:
            message = f"{what} only by a client on the same machine"
            raise RunnerError(Kind.FORBIDDEN, message, hint=hint)

    async def read(self, parse: Callable[[dict[str, Any]], T]) -> T:
        """Read the body, which must be a JSON object, and parse it."""
        body = await self.exchange.read_body(self.max_body_bytes)
        if len(body) <= INLINE_BYTES:
            return parse(jsonbody.decode_object(body))
        return await asyncio.to_thread(lambda: parse(jsonbody.decode_object(body)))

    async def read_chat(self, parse: Callable[[dict[str, Any]], R]) -> R:
        """Read a chat request, and bring the files that it names by URL."""
        return await self.complete(await self.read(parse))

    async def complete(self, asked: R) -> R:
        """Bring the files that a chat request names by URL, while the client waits."""
        async with while_wanted(self.exchange):
            return await self.remote_media.bring(asked)

    async def reply(
        self, body: bytes, *, status: int = 200, headers: Sequence[Header] = (faults.JSON_TYPE,)
    ) -> None:
        """Answer with a whole body, JSON unless ``headers`` say otherwise."""
        await self.exchange.respond(status, [*headers, *self.headers], body)

    async def reply_json(self, value: Any, *, status: int = 200) -> None:
        """Answer with a JSON value."""
        await self.reply(json.dumps(value, ensure_ascii=False).encode(), status=status)

    async def open_stream(
        self, content_type: str, *, headers: Sequence[Header] = (), heartbeat: bytes = b""
    ) -> Stream:
        """Answer piece by piece; no proxy on the way shall hold pieces back."""
        fields = [
            ("Content-Type", content_type),
            ("Cache-Control", "no-cache"),
            ("X-Accel-Buffering", "no"),
            *headers,
            *self.headers,
        ]
        return await self.exchange.open_stream(200, fields, heartbeat=heartbeat)


Handler = Callable[[Call], Awaitable[None]]


class EventStream:
    """An answer of events, Server-Sent or lines of JSON, whose head waits for the first one.

    So a request that is refused gets its 4xx. When the model takes long to load, patience ends
    and the head goes out alone: heartbeats keep the connection alive, and an error that comes
    later is the stream's last event.
    """

    def __init__(
        self, call: Call, headers: Sequence[Header], *, content_type: str, heartbeat: bytes
    ) -> None:
        self._call = call
        self._headers = headers
        self._content_type = content_type
        self._heartbeat = heartbeat
        self._opening: asyncio.Task[Stream] | None = None
        self._stream: Stream | None = None

    @property
    def is_open(self) -> bool:
        """Whether the head is sent, or being sent."""
        return self._opening is not None

    async def open(self) -> Stream:
        """Send the head if it is not out yet."""
        if self._stream is None:
            self._stream = await self._start()
        return self._stream

    @property
    def takes_more(self) -> bool:
        """Whether :meth:`write` may be called: the head is out and the client keeps up."""
        return self._stream is not None and not self._stream.is_behind

    def write(self, data: bytes) -> None:
        """Send one or more rendered events to a client that keeps up."""
        assert self._stream is not None, "an event was written before the head"
        self._stream.write(data)

    async def send(self, data: bytes) -> None:
        """Send one or more rendered events."""
        stream = self._stream or await self.open()
        await stream.send(data)

    async def finish(self, data: bytes) -> None:
        """Send the last events and end."""
        await self.send(data)
        await (await self.open()).finish()

    @asynccontextmanager
    async def opened_after(self, patience_s: float) -> AsyncIterator[None]:
        """Open the stream if the block has not after ``patience_s``."""
        timer = asyncio.get_running_loop().call_later(patience_s, self._start)
        try:
            yield
        finally:
            timer.cancel()

    def _start(self) -> asyncio.Task[Stream]:
        if self._opening is None:
            self._opening = asyncio.create_task(
                self._call.open_stream(
                    self._content_type, headers=self._headers, heartbeat=self._heartbeat
                )
            )
        return self._opening


@asynccontextmanager
async def until_stopping(exchange: Exchange) -> AsyncIterator[None]:
    """Run the block, which has no end of its own, until the server begins to stop.

    A stream that only waits for news must not hold a stopping server for the time of its grace.
    """
    async with _until(exchange.wait_stopping):
        yield


@asynccontextmanager
async def while_wanted(exchange: Exchange) -> AsyncIterator[None]:
    """Run the block until the client leaves; then cancel it and raise RunnerError(CANCELLED)."""
    async with _until(exchange.wait_gone) as is_gone:
        yield
    if is_gone():
        raise RunnerError(Kind.CANCELLED, "the client left before the answer was complete")


@asynccontextmanager
async def _until(wait: Callable[[], Awaitable[None]]) -> AsyncIterator[Callable[[], bool]]:
    """Run the block until ``wait`` returns, which cancels it; give whether that was its end."""
    worker = asyncio.current_task()
    assert worker is not None
    has_cut = False

    async def watch() -> None:
        nonlocal has_cut
        await wait()
        has_cut = True
        worker.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield lambda: has_cut
    except asyncio.CancelledError:
        if not has_cut:
            raise  # the server is being stopped
        worker.uncancel()
    finally:
        watcher.cancel()
