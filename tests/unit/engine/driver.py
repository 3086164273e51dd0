"""Runs a scheduler on the fake backend, checks the books after every call, and keeps the events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.engine.backend import Adapters, GeneratorId, Outcome, Plan
from runner.engine.events import Begun, Ended, Event, Failed, Piece, SequenceId
from runner.engine.fake import FakeBackend
from runner.engine.limits import Capacity, Policy
from runner.engine.scheduler import Scheduler
from runner.engine.sequence import SequenceRequest


def capacity(**changes: Any) -> Capacity:
    """A small unified capacity; ``streams=True`` for one stream a slot."""
    streams = changes.pop("streams", False)
    values: dict[str, Any] = {
        "slots": 8,
        "parallel": 4,
        "context_size": 256,
        "batch_size": 128,
        "shares_cells": not streams,
    }
    values.update(changes)
    whole = values["context_size"] * (values["slots"] if streams else 4)
    values.setdefault("cells", whole)
    return Capacity(**values)


def tokens(length: int, *, seed: int = 0) -> tuple[int, ...]:
    """A prompt; two of one seed share their start, two of different seeds share nothing."""
    return tuple(10_000 * (seed + 1) + at for at in range(length))


class Driver:
    """One engine in a test."""

    def __init__(
        self,
        limits: Capacity,
        policy: Policy | None = None,
        outcomes: Mapping[int, Outcome] | None = None,
        *,
        actual: Capacity | None = None,
    ) -> None:
        """``actual`` is what the backend really holds, where that is less than ``limits``."""
        self._is_honest = actual is None
        self.backend = FakeBackend(actual or limits, outcomes or {})
        self.scheduler = Scheduler(limits, policy)
        self.now_s = 0.0
        self.events: dict[SequenceId, list[Event]] = {}
        self._generators: dict[SequenceId, GeneratorId] = {}

    def submit(
        self,
        id: SequenceId,
        prompt: tuple[int, ...],
        *,
        max_tokens: int | None = 8,
        stop: tuple[str, ...] = (),
        **more: Any,
    ) -> None:
        """Submit a prompt; ``max_tokens`` 0 asks for no generator."""
        generator = None
        if max_tokens != 0:
            generator = self.backend.new_generator(max_tokens=max_tokens, stop=stop)
            self._generators[id] = generator
        self.events[id] = []
        request = SequenceRequest(id, prompt, generator, max_tokens, **more)
        self.scheduler.submit(request)
        self.collect()

    def cancel(self, id: SequenceId) -> None:
        """Cancel a request."""
        self.scheduler.cancel(id)
        self.collect()

    def step(self) -> Plan | None:
        """Run one step; None when there was nothing to do."""
        plan = self.scheduler.plan(self.now_s)
        self.scheduler.check()
        if plan is not None:
            is_made_to_fail = self.backend.steps in self.backend.outcomes
            result = self.backend.run(plan)
            if self._is_honest and not is_made_to_fail:
                is_lossy = bool(self.backend.refuses) or not self.backend.can_save
                expected = Outcome.LOST if is_lossy and result.lost else Outcome.OK
                assert result.outcome is expected, "the books are wrong"
            self.now_s += result.duration_s
            self.scheduler.settle(plan, result, self.now_s)
        self.collect()
        if plan is not None:
            self._compare_books_with_cells()
        return plan

    def run(self, *, max_steps: int = 2000) -> list[Plan]:
        """Run until nothing is left to do; fail when that takes more than ``max_steps``."""
        plans: list[Plan] = []
        while (plan := self.step()) is not None:
            plans.append(plan)
            assert len(plans) <= max_steps, "it does not come to an end"
        assert (self.scheduler.running, self.scheduler.waiting) == (0, 0)
        return plans

    def collect(self) -> None:
        """Sort what happened by id, and check the books."""
        self.scheduler.check()
        for event in self.scheduler.take_events():
            log = self.events[event.id]
            assert not log or not isinstance(log[-1], Ended | Failed), "an event after the last"
            log.append(event)
            if isinstance(event, Ended | Failed) and event.id in self._generators:
                self.backend.free(self._generators.pop(event.id))

    def _compare_books_with_cells(self) -> None:
        slots = self.scheduler._slots
        if slots._operations:  # the backend is behind by what the next step begins with
            return
        lengths = [slots.tree.length(slot) for slot in range(len(self.backend.slots))]
        assert lengths == [len(cells) for cells in self.backend.slots]
        assert slots.tree.cells == self.backend.cells_used
        texts = {key: slots.shelf.length(key) for key in self.backend.saved}
        assert texts == {key: len(cells) for key, cells in self.backend.saved.items()}
        assert len(texts) == len(slots.shelf)

    def text(self, id: SequenceId) -> str:
        """What an id has shown so far."""
        return "".join(event.text for event in self.events[id] if isinstance(event, Piece))

    def last(self, id: SequenceId) -> Event:
        """The newest event of an id."""
        return self.events[id][-1]

    def begun(self, id: SequenceId) -> Begun:
        """The ``Begun`` of an id."""
        [begun] = [event for event in self.events[id] if isinstance(event, Begun)]
        return begun

    def ended(self, id: SequenceId) -> Ended:
        """The ``Ended`` of an id."""
        event = self.last(id)
        assert isinstance(event, Ended), event
        return event

    def failed(self, id: SequenceId) -> Failed:
        """The ``Failed`` of an id."""
        event = self.last(id)
        assert isinstance(event, Failed), event
        return event


def alone(
    prompt: tuple[int, ...],
    *,
    context_size: int = 256,
    max_tokens: int | None = 8,
    adapters: Adapters = None,
) -> tuple[str, str]:
    """Text and end reason of a prompt that has a whole fresh engine to itself."""
    driver = Driver(capacity(slots=1, parallel=1, context_size=context_size, batch_size=512))
    driver.submit(1, prompt, max_tokens=max_tokens, adapters=adapters)
    driver.run()
    return driver.text(1), driver.ended(1).reason
