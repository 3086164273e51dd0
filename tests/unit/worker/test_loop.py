"""The loop on the fake backend: takes, computes, tells, and stops as it was asked to."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from runner.engine import Capacity, Plan, Scheduler, SequenceRequest, StepResult
from runner.engine.fake import FakeBackend
from runner.wire.messages import Begun, Cancel, Ended, Event, Failed, Piece, Stop, is_last
from runner.worker.loop import EngineLoop, Inbox
from runner.worker.prompts import Prepared
from runner.worker.translate import Translator

WAIT_S = 10.0
CAPACITY = Capacity(
    slots=4, parallel=2, cells=1024, context_size=256, batch_size=64, shares_cells=True
)


class SteppedBackend(FakeBackend):
    """A fake whose steps wait to be let through, when it is told so."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate = threading.Event()
        self.gate.set()
        self.in_step = threading.Event()
        self.aborts = 0

    def run(self, plan: Plan) -> StepResult:
        self.in_step.set()
        assert self.gate.wait(WAIT_S)
        return super().run(plan)

    def abort(self) -> None:
        self.aborts += 1
        self.gate.set()  # as if the step had noticed


class Engine:
    """A loop in a thread."""

    def __init__(self) -> None:
        self.backend = SteppedBackend(CAPACITY)
        self.inbox = Inbox()
        self.told = threading.Condition()
        self.events: list[Event] = []
        self.is_preparing = False
        self.loop = EngineLoop(
            Scheduler(CAPACITY),
            self.backend,
            self.inbox,
            translator=Translator(lambda token: b""),
            emit=self.emit,
            is_preparing=lambda: self.is_preparing,
            open_parser=lambda id, parser: None,
        )
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def emit(self, events: Sequence[Event]) -> None:
        with self.told:
            self.events += events
            self.told.notify_all()

    def submit(self, id: int, *, max_tokens: int = 3, stop: tuple[str, ...] = ()) -> None:
        generator = self.backend.new_generator(max_tokens=max_tokens, stop=stop)
        request = SequenceRequest(id, (id, 2, 3), generator, max_tokens)
        self.inbox.put(Prepared(request, stop))

    def wait_for_last(self, id: int) -> Event:
        def last() -> Event | None:
            return next((e for e in self.events if e.id == id and is_last(e)), None)

        with self.told:
            assert self.told.wait_for(last, WAIT_S)
        event = last()
        assert event is not None
        return event

    def stop(self, grace_s: float) -> None:
        self.loop.stop(Stop(grace_s=grace_s))
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.backend.gate.set()
    engine.is_preparing = False
    engine.stop(0.0)


def test_a_request_is_answered_and_its_generator_given_back(engine: Engine) -> None:
    engine.submit(1)
    assert isinstance(engine.wait_for_last(1), Ended)
    assert [type(event) for event in engine.events] == [Begun, Piece, Piece, Piece, Ended]
    engine.stop(0.0)
    assert engine.backend.generators == {}


def test_a_cancel_ends_a_stream_and_frees_its_generator(engine: Engine) -> None:
    engine.submit(1, max_tokens=200)
    engine.submit(2)
    engine.inbox.put(Cancel(id=1))
    event = engine.wait_for_last(1)
    assert isinstance(event, Failed)
    assert event.kind == "cancelled"
    assert isinstance(engine.wait_for_last(2), Ended)


def test_a_cancel_of_something_unknown_is_ignored(engine: Engine) -> None:
    engine.inbox.put(Cancel(id=99))
    engine.submit(1)
    assert isinstance(engine.wait_for_last(1), Ended)


def test_a_polite_stop_lets_streams_finish(engine: Engine) -> None:
    engine.backend.gate.clear()
    engine.submit(1, max_tokens=20)
    assert engine.backend.in_step.wait(WAIT_S)
    engine.loop.stop(Stop(grace_s=WAIT_S))
    engine.backend.gate.set()
    engine.thread.join(WAIT_S)
    assert isinstance(engine.wait_for_last(1), Ended)


def test_a_stop_without_grace_fails_what_runs_and_aborts_the_step(engine: Engine) -> None:
    engine.backend.gate.clear()
    engine.submit(1, max_tokens=200)
    assert engine.backend.in_step.wait(WAIT_S)
    engine.stop(0.0)
    event = engine.wait_for_last(1)
    assert isinstance(event, Failed)
    assert (event.kind, engine.backend.aborts) == ("unavailable", 1)


def test_a_stop_waits_for_requests_that_are_being_prepared(engine: Engine) -> None:
    engine.is_preparing = True
    engine.loop.stop(Stop(grace_s=WAIT_S))
    engine.submit(1)
    assert isinstance(engine.wait_for_last(1), Ended)
    assert engine.thread.is_alive()
    engine.is_preparing = False
    engine.thread.join(WAIT_S)
    assert not engine.thread.is_alive()


def test_a_beat_tells_of_the_step_that_runs(engine: Engine) -> None:
    idle = engine.loop.beat(cells_total=1024, resident_bytes=5, threads=2)
    assert (idle.step_running_s, idle.running, idle.steps) == (0.0, 0, 0)
    assert (idle.cells_total, idle.resident_bytes) == (1024, 5)
    engine.backend.gate.clear()
    engine.submit(1)
    assert engine.backend.in_step.wait(WAIT_S)
    busy = engine.loop.beat(cells_total=1024, resident_bytes=5, threads=2)
    assert busy.step_running_s > 0
    assert busy.running == 1
    engine.backend.gate.set()
    engine.wait_for_last(1)


def test_an_empty_inbox_is_not_waited_for_by_a_busy_engine() -> None:
    inbox = Inbox()
    assert inbox.take(0) == []
    assert inbox.take(0.001) == []
    inbox.put(Cancel(id=1))
    inbox.put(Cancel(id=2))
    assert inbox.take(None) == [Cancel(id=1), Cancel(id=2)]
