"""A request for text, answered in any dialect: lease a model, submit the choices, tell what comes.

A dialect says what it asks (:class:`Asked`) and how it tells the answer (:class:`Answer`); the way
from one to the other, streamed or whole, is the same for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from runner import http
from runner.api import faults, keep_alive
from runner.api.call import Call, EventStream, while_wanted
from runner.api.choosing import (
    Choice,
    Chunks,
    Completion,
    check_model,
    each,
    fold,
    ignored_header,
    relay,
)
from runner.api.faults import Header
from runner.errors import Kind, RunnerError
from runner.service import Engines, Lease
from runner.wire.messages import Ended, Sampling, Submit

C = TypeVar("C", bound=Choice)


class Asked(keep_alive.Asked, Protocol):
    """A parsed request, whatever dialect it came in."""

    @property
    def model(self) -> str:
        """The model's name, as the request has it."""

    @property
    def sampling(self) -> Sampling:
        """How tokens are chosen, before each choice gets its seed."""

    @property
    def stream(self) -> bool:
        """Whether the answer is sent as it comes."""

    def submits(self, *, client: str) -> list[Submit]:
        """Return what the engine is asked: one for each choice."""


class Answer(Protocol[C]):
    """How one answer is told in a dialect."""

    def choice(self) -> C:
        """Return an empty choice, for an answer that is told whole."""

    def whole(self, made: Sequence[tuple[C, Ended]]) -> bytes:
        """Render the whole answer."""

    def chunks(self, index: int) -> Chunks:
        """Return what renders one choice of a stream."""

    def tail(self, ended: Sequence[Ended]) -> bytes:
        """Render what follows the last events of all choices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a dialect streams."""

    error_event: Callable[[RunnerError], bytes]  # the last event of a stream that fails midway
    content_type: str = "text/event-stream"
    heartbeat: bytes = http.sse.HEARTBEAT  # sent while nothing comes; empty: nothing is


class Answering:
    """Answers requests for text in one dialect."""

    def __init__(self, engines: Engines, form: Form, *, patience_s: float) -> None:
        self._engines = engines
        self._form = form
        self._patience_s = patience_s

    async def give(
        self,
        call: Call,
        asked: Asked,
        begin: Callable[[Lease], Awaitable[Answer[C]]],
    ) -> None:
        """Answer one request; ``begin`` is called when its model is there."""
        keep_alive_s, ignored = keep_alive.permitted(asked, call.allowed)
        leasing = partial(self._engines.lease, asked.model, keep_alive_s=keep_alive_s)
        if asked.stream:
            await self._stream(call, asked, begin, leasing, ignored_header(ignored))
            return
        async with while_wanted(call.exchange), await leasing() as lease:
            check_model(asked.model, asked.sampling, lease.ready)
            answer = await begin(lease)

            async def make(_: int, completion: Completion) -> tuple[C, Ended]:
                return await fold(completion, answer.choice())

            made = await each(lease, asked.submits(client=call.client), make)
        headers = [faults.JSON_TYPE, *ignored_header(ignored)]
        await call.reply(answer.whole(made), headers=headers)

    async def _stream(
        self,
        call: Call,
        asked: Asked,
        begin: Callable[[Lease], Awaitable[Answer[C]]],
        leasing: Callable[[], Awaitable[Lease]],
        headers: Sequence[Header],
    ) -> None:
        """Tell an answer as it comes; an error that comes before the head is raised."""
        form = self._form
        events = EventStream(
            call, headers, content_type=form.content_type, heartbeat=form.heartbeat
        )
        try:
            async with while_wanted(call.exchange), events.opened_after(self._patience_s):
                tail = await self._relay(call, asked, begin, leasing, events)
            await events.finish(tail)
        except RunnerError as error:
            if not events.is_open or call.exchange.is_gone:
                raise
            await events.finish(form.error_event(error))
        except asyncio.CancelledError:
            if events.is_open:
                await events.finish(form.error_event(_STOPPING))
            raise

    async def _relay(
        self,
        call: Call,
        asked: Asked,
        begin: Callable[[Lease], Awaitable[Answer[C]]],
        leasing: Callable[[], Awaitable[Lease]],
        events: EventStream,
    ) -> bytes:
        """Send all but the last events, and return those: they go out together."""
        async with await leasing() as lease:
            check_model(asked.model, asked.sampling, lease.ready)
            answer = await begin(lease)

            async def send(index: int, completion: Completion) -> tuple[bytes, Ended]:
                return await relay(completion, answer.chunks(index), events)

            lasts = await each(lease, asked.submits(client=call.client), send)
        tail = answer.tail([ended for _, ended in lasts])
        return b"".join(last for last, _ in lasts) + tail


_STOPPING = RunnerError(Kind.UNAVAILABLE, "the server is being stopped")
