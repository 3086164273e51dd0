"""Chat completions, streamed or whole: one request, one lease, ``n`` submits, one answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Protocol, TypeVar
from urllib.parse import quote

from runner.api import faults
from runner.api.call import Call, EventStream, while_wanted
from runner.api.faults import Header
from runner.api.openai import parse, render, sampling
from runner.api.openai.parse import ChatRequest
from runner.errors import Kind, RunnerError
from runner.service import Engines, Lease
from runner.wire.messages import Begun, Ended, Event, Failed, Piece, Ready

T = TypeVar("T")

MAX_IGNORED = 32


class Completion(Protocol):
    """The events of one choice; leaving the block cancels it."""

    def tap(self, take: Callable[[Piece], bool]) -> None:
        """Hand pieces to ``take`` as they arrive; one that it refuses is for the iteration."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate to the last event."""

    async def __aenter__(self) -> object:
        """Begin."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave."""


class Chat:
    """The handler of chat completions."""

    def __init__(self, engines: Engines, *, version: str, patience_s: float) -> None:
        self._engines = engines
        self._version = version
        self._patience_s = patience_s

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        if call.exchange.request.headers.get("x-preload-only") == "true":
            await self._preload(call)
            return
        request = await call.read(parse.parse)
        if request.stream:
            await self._stream(call, request)
        else:
            await self._reply(call, request)

    async def _preload(self, call: Call) -> None:
        """Load the model and answer nothing: Docker Model Runner's ``X-Preload-Only``."""
        model = await call.read(parse.parse_model_name)
        async with while_wanted(call.exchange), await self._engines.lease(model):
            pass
        await call.reply(b"")

    async def _reply(self, call: Call, request: ChatRequest) -> None:
        async with (
            while_wanted(call.exchange),
            await self._engines.lease(request.model) as lease,
        ):
            check_model(request, lease.ready)
            identity = self._identify(request, lease.ready)
            choices = await _each_choice(lease, request, call.client, _fold)
        wants_logprobs = request.sampling.top_logprobs is not None
        await call.reply(
            render.completion(identity, choices, wants_logprobs=wants_logprobs),
            headers=[faults.JSON_TYPE, *ignored_header(request.ignored)],
        )

    async def _stream(self, call: Call, request: ChatRequest) -> None:
        events = EventStream(call, ignored_header(request.ignored))
        try:
            async with while_wanted(call.exchange), events.opened_after(self._patience_s):
                tail = await self._relay(call, request, events)
            await events.finish(tail)
        except RunnerError as error:
            if not events.is_open or call.exchange.is_gone:
                raise
            await events.finish(render.error_event(error))
        except asyncio.CancelledError:
            if events.is_open:
                await events.finish(render.error_event(_STOPPING))
            raise

    async def _relay(self, call: Call, request: ChatRequest, events: EventStream) -> bytes:
        """Send all but the last events, and return those: they go out together."""
        async with await self._engines.lease(request.model) as lease:
            check_model(request, lease.ready)
            identity = self._identify(request, lease.ready)

            async def relay(index: int, completion: Completion) -> tuple[bytes, Ended]:
                chunks = render.Chunks(identity, index, include_usage=request.include_usage)
                return await _relay_choice(completion, chunks, events)

            lasts = await _each_choice(lease, request, call.client, relay)
        ended = [one for _, one in lasts]
        usage = render.usage_chunk(identity, ended) if request.include_usage else b""
        return b"".join(chunk for chunk, _ in lasts) + usage + render.DONE

    def _identify(self, request: ChatRequest, ready: Ready) -> render.Identity:
        return render.Identity(
            id=f"chatcmpl-{secrets.token_hex(16)}",
            created_s=int(time.time()),
            model=request.model,
            fingerprint=render.fingerprint(self._version, ready),
        )


_STOPPING = RunnerError(Kind.UNAVAILABLE, "the server is being stopped")


def check_model(request: ChatRequest, ready: Ready) -> None:
    """Raise for what only the loaded model could tell: it cannot chat, a token is not its."""
    if ready.model.pooling:
        raise RunnerError(
            Kind.MODEL_NOT_SUPPORTED,
            f"{request.model} makes embeddings and cannot generate text",
            param="model",
        )
    sampling.check_vocabulary(request.sampling, ready.model.vocabulary)


def ignored_header(names: tuple[str, ...]) -> list[Header]:
    """Return ``X-Ignored-Fields``, with whatever a client called a field made safe for a header."""
    shown = [quote(name[:80], safe="[]#/$~:") for name in names[:MAX_IGNORED]]
    if len(names) > MAX_IGNORED:
        shown.append(f"... and {len(names) - MAX_IGNORED} more")
    return [("X-Ignored-Fields", ", ".join(shown))] if shown else []


async def _each_choice(
    lease: Lease,
    request: ChatRequest,
    client: str,
    consume: Callable[[int, Completion], Awaitable[T]],
) -> list[T]:
    """Submit every choice and consume them together; the first failure ends them all."""
    completions = [
        lease.submit(request.submit(index, client=client)) for index in range(request.choices)
    ]
    if len(completions) == 1:
        return [await consume(0, completions[0])]

    async def run(index: int) -> T:
        return await consume(index, completions[index])

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(index)) for index in range(len(completions))]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def _fold(_index: int, completion: Completion) -> tuple[render.Choice, Ended]:
    choice = render.Choice()

    def keep(piece: Piece) -> bool:
        choice.add(piece)
        return True

    completion.tap(keep)
    async with completion:
        async for event in completion:
            match event:
                case Begun() | Piece():
                    choice.add(event)
                case Ended():
                    return choice, event
                case Failed():
                    raise faults.from_failed(event)
    raise _unended()


async def _relay_choice(
    completion: Completion, chunks: render.Chunks, events: EventStream
) -> tuple[bytes, Ended]:
    opening = chunks.first()

    def relay(piece: Piece) -> bool:
        """Send a piece from where it was read: a step costs one turn of the event loop."""
        if opening or not events.takes_more:
            return False
        if chunk := chunks.piece(piece):
            events.write(chunk)
        return True

    completion.tap(relay)
    async with completion:
        async for event in completion:
            match event:
                case Piece():
                    if chunk := chunks.piece(event):
                        await events.send(opening + chunk)
                        opening = b""
                case Begun():
                    await events.open()
                case Ended():
                    return opening + chunks.last(event), event
                case Failed():
                    raise faults.from_failed(event)
    raise _unended()


def _unended() -> RunnerError:
    return RunnerError(Kind.INTERNAL, "the engine's events ended without a last one")
