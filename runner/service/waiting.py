"""Requests that wait for a model, in order of arrival."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from itertools import count

from runner.errors import RunnerError
from runner.service.lease import Lease
from runner.service.options import ModelSettings
from runner.service.refusals import busy
from runner.service.residency import ModelKey, Ticket, TicketId
from runner.store import StoredModel
from runner.wire.messages import MemoryNeed


@dataclass(frozen=True, slots=True)
class Waiter:
    """A queued request."""

    ticket: Ticket
    name: str  # as the request wrote it
    model: StoredModel
    settings: ModelSettings  # to load it with
    need: MemoryNeed
    keep_alive_s: float | None  # what the request asks for; None: nothing
    lease: asyncio.Future[Lease]


class Waiting:
    """The queue. Whoever is answered, or leaves, is out of it."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._waiters: dict[TicketId, Waiter] = {}
        self._ids = map(TicketId, count(1))

    def enter(
        self,
        name: str,
        model: StoredModel,
        *,
        settings: ModelSettings,
        need: MemoryNeed,
        keep_alive_s: float | None,
        now_s: float,
    ) -> Waiter:
        """Queue a request; raise RunnerError(BUSY) when too many wait already."""
        if len(self._waiters) >= self._max_waiting:
            raise busy(f"{len(self._waiters)} requests wait for a model already")
        ticket = Ticket(
            next(self._ids),
            ModelKey(str(model.id)),
            need.total_bytes,
            since_s=now_s,
            device_bytes=need.device_bytes,
        )
        lease = asyncio.get_running_loop().create_future()
        waiter = Waiter(ticket, name, model, settings, need, keep_alive_s, lease)
        self._waiters[ticket.id] = waiter
        return waiter

    def cancelled(self) -> list[Waiter]:
        """List those whose callers were cancelled and have not run yet to leave."""
        return [each for each in self._waiters.values() if each.lease.cancelled()]

    def tickets(self) -> list[Ticket]:
        """List what is waited for."""
        return [waiter.ticket for waiter in self._waiters.values()]

    def counts(self) -> Counter[ModelKey]:
        """Count who waits for each model."""
        return Counter(waiter.ticket.key for waiter in self._waiters.values())

    def first(self, key: ModelKey) -> Waiter:
        """Return who has waited longest for a model."""
        return next(each for each in self._waiters.values() if each.ticket.key == key)

    def __getitem__(self, id: TicketId) -> Waiter:
        return self._waiters[id]

    def answer(self, waiter: Waiter, answer: Lease | RunnerError) -> None:
        """Give one its lease, or its error."""
        del self._waiters[waiter.ticket.id]
        if isinstance(answer, Lease):
            waiter.lease.set_result(answer)
        elif not waiter.lease.cancelled():
            waiter.lease.set_exception(answer)

    def refuse(self, error: RunnerError, key: ModelKey | None = None) -> None:
        """Give all their error, or all who wait for one model."""
        for waiter in list(self._waiters.values()):
            if key is None or waiter.ticket.key == key:
                self.answer(waiter, error)

    def forget(self, waiter: Waiter) -> bool:
        """Take one out; return whether it was in."""
        return self._waiters.pop(waiter.ticket.id, None) is not None
