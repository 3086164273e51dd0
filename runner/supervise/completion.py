"""One request in flight, seen from the daemon: an async iterator of its events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from runner.supervise.mailbox import Mailbox
from runner.wire.messages import Event, RequestId, is_last


class Completion:
    """The events of one request, in order, ending with exactly one ``Ended`` or ``Failed``.

    One consumer iterates it: ``async with completion: async for event in completion: ...``.
    A consumer that is slower than the engine gets longer pieces, never a longer queue. Leaving
    the block early, by any way, cancels the request. Cancelling one wait for the next event (to
    send a heartbeat, say) loses nothing: ask again.
    """

    def __init__(self, id: RequestId, *, cancel: Callable[[RequestId], None]) -> None:
        self.id = id
        self._cancel = cancel
        self._mailbox = Mailbox()
        self._arrived = asyncio.Event()
        self._cancelled = False
        self._ended = False  # the last event was delivered
        self._closed = False  # the consumer left

    @property
    def ended(self) -> bool:
        """Whether the engine is through with it."""
        return self._ended

    def deliver(self, event: Event) -> None:
        """Add an event: called by the worker's side alone."""
        self._ended = is_last(event)
        if not self._closed:
            self._mailbox.put(event)
        self._arrived.set()

    def cancel(self) -> None:
        """Ask the engine to stop; the iteration still ends with its last event. Idempotent."""
        if not (self._ended or self._cancelled):
            self._cancelled = True
            self._cancel(self.id)

    async def aclose(self) -> None:
        """Leave: cancel what still runs and drop what still comes. Does not wait."""
        self._closed = True
        self._mailbox = Mailbox()
        self._arrived.set()
        self.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while (event := self._mailbox.take()) is None:
            if self._ended or self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
