"""The choices of one request on their way from the engine to the client, streamed or whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Protocol, TypeVar
from urllib.parse import quote

from runner.api import faults
from runner.api.call import EventStream
from runner.api.faults import Header
from runner.api.openai import sampling
from runner.errors import Kind, RunnerError
from runner.service import Lease
from runner.wire.messages import Begun, Ended, Event, Failed, Piece, Ready, Sampling, Submit

T = TypeVar("T")
C = TypeVar("C", bound="Choice")

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


class Choice(Protocol):
    """One choice being put together."""

    def add(self, event: Begun | Piece) -> None:
        """Take the next event."""


class Chunks(Protocol):
    """What renders one choice of a stream."""

    def first(self, begun: Begun) -> bytes:
        """Render what comes before the first text."""

    def piece(self, piece: Piece) -> bytes:
        """Render new text; nothing when there is none to tell."""

    def last(self, ended: Ended) -> bytes:
        """Render the end."""


def check_model(name: str, wanted: Sampling, ready: Ready) -> None:
    """Raise for what only the loaded model could tell: it makes no text, a token is not its."""
    if ready.model.pooling:
        does = "ranks documents" if ready.model.reranks else "makes embeddings"
        raise RunnerError(
            Kind.MODEL_NOT_SUPPORTED,
            f"{name} {does} and cannot generate text",
            param="model",
        )
    sampling.check_vocabulary(wanted, ready.model.vocabulary)


def ignored_header(names: tuple[str, ...]) -> list[Header]:
    """Return ``X-Ignored-Fields``, with whatever a client called a field made safe for a header."""
    shown = [quote(name[:80], safe="[]#/$~:") for name in names[:MAX_IGNORED]]
    if len(names) > MAX_IGNORED:
        shown.append(f"... and {len(names) - MAX_IGNORED} more")
    return [("X-Ignored-Fields", ", ".join(shown))] if shown else []


async def each(
    lease: Lease,
    submits: Sequence[Submit],
    consume: Callable[[int, Completion], Awaitable[T]],
) -> list[T]:
    """Submit every choice and consume them together; the first failure ends them all."""
    completions = [lease.submit(submit) for submit in submits]
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


async def fold(completion: Completion, choice: C) -> tuple[C, Ended]:
    """Put a choice together from its events; raise the RunnerError that it ends with."""

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


async def relay(completion: Completion, chunks: Chunks, events: EventStream) -> tuple[bytes, Ended]:
    """Send a choice as it comes; return its last chunk, not sent yet."""
    opening = b""
    is_open = False

    def write(piece: Piece) -> bool:
        """Send a piece from where it was read: a step costs one turn of the event loop."""
        if not is_open or not events.takes_more:
            return False
        if chunk := chunks.piece(piece):
            events.write(chunk)
        return True

    completion.tap(write)
    async with completion:
        async for event in completion:
            match event:
                case Begun():
                    await events.open()
                    opening = chunks.first(event)
                case Piece():
                    if chunk := chunks.piece(event):
                        await events.send(opening + chunk)
                        opening, is_open = b"", True
                case Ended():
                    return opening + chunks.last(event), event
                case Failed():
                    raise faults.from_failed(event)
    raise _unended()


def _unended() -> RunnerError:
    return RunnerError(Kind.INTERNAL, "the engine's events ended without a last one")
