"""One request in flight, seen from the daemon: an async iterator of its events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from runner.supervise.mailbox import Mailbox
from runner.wire.messages import Event, Piece, RequestId, is_last

Tap = Callable[[Piece], bool]


class Completion:
    """The events of one request, in order, ending with exactly one ``Ended`` or ``Failed``.

    One consumer iterates it: ``async with completion: async for event in completion: ...``.
    A consumer that is slower than the engine gets longer pieces, never a longer queue; one that
    need not wait may :meth:`tap` them. Leaving the block early, by any way, cancels the request.
    Cancelling one wait for the next event (to send a heartbeat, say) loses nothing: ask again.
    """

    def __init__(self, id: RequestId, *, cancel: Callable[[RequestId], None]) -> None:
        self.id = id
        self._cancel = cancel
        self._mailbox = Mailbox()
        self._tap: Tap | None = None
        self._observe: Callable[[Event], None] | None = None
        self._arrival: asyncio.Future[None] | None = None  # while the iteration waits
        self._cancelled = False
        self._ended = False  # the last event was delivered
        self._closed = False  # the consumer left

    @property
    def ended(self) -> bool:
        """Whether the engine is through with it."""
        return self._ended

    def tap(self, take: Tap) -> None:
        """Hand pieces to ``take`` as they arrive, without a turn of the event loop for each.

        One that ``take`` refuses (False) is for the iteration, as is all that comes until the
        iteration has caught up.
        """
        self._tap = take

    def observe(self, observer: Callable[[Event], None]) -> None:
        """Tell ``observer`` of every event when it arrives, also when the consumer has left.

        Called before the event loop turns: then nothing has come but perhaps a refusal, which is
        told at once.
        """
        self._observe = observer
        if self._mailbox.last is not None:
            observer(self._mailbox.last)

    def deliver(self, event: Event) -> None:
        """Add an event: called by the worker's side alone."""
        if self._observe is not None:
            self._observe(event)
        if isinstance(event, Piece):
            if self._tap is not None and self._mailbox.is_empty and self._tap(event):
                return
        else:
            self._ended = is_last(event)
        if not self._closed:
            self._mailbox.put(event)
        self._wake()

    def cancel(self) -> None:
        """Ask the engine to stop; the iteration still ends with its last event. Idempotent."""
        if not (self._ended or self._cancelled):
            self._cancelled = True
            self._cancel(self.id)

    async def aclose(self) -> None:
        """Leave: cancel what still runs and drop what still comes. Does not wait."""
        self._closed = True
        self._tap = None
        self._mailbox = Mailbox()
        self._wake()
        self.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while (event := self._mailbox.take()) is None:
            if self._ended or self._closed:
                raise StopAsyncIteration
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
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

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
