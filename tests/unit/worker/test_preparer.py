"""The pool: every submit is delivered, refused or taken back, whatever its template does."""

from __future__ import annotations

import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runner.engine import SequenceRequest
from runner.errors import Kind, RunnerError
from runner.wire.messages import Answered, Ask, Failed, Sampling, Submit, TextPrompt
from runner.worker.preparer import MAX_HUNG, Preparer
from runner.worker.prompts import Limit, Prepared

WAIT_S = 10.0


def submit(id: int, text: str = "", **more: Any) -> Submit:
    return Submit(id=id, prompt=TextPrompt(text=text), sampling=Sampling(), **more)


class Kitchen:
    """A preparer whose work the text tells: ``hang``, ``burn``, ``fail``, ``break`` or nothing."""

    def __init__(self, *, limit_s: float = WAIT_S) -> None:
        self.release = threading.Event()
        self.started: queue.Queue[int] = queue.Queue()
        self.delivered: queue.Queue[Prepared] = queue.Queue()
        self.told: queue.Queue[Answered] = queue.Queue()
        self.refused: queue.Queue[Failed] = queue.Queue()
        self.discarded: queue.Queue[Prepared] = queue.Queue()
        self.gave_up = threading.Event()
        self.preparer = Preparer(
            self.prepare,
            answer=self.answer,
            deliver=self.delivered.put,
            tell=self.told.put,
            refuse=self.refused.put,
            discard=self.discarded.put,
            give_up=self.gave_up.set,
            limit_s=limit_s,
        )
        self.preparer.start()

    def prepare(self, submit: Submit, deadline_s: float | None, limit: Limit) -> Prepared:
        self.started.put(submit.id)
        assert isinstance(submit.prompt, TextPrompt)
        match submit.prompt.text:
            case "hang":
                with limit(submit.id):
                    self.release.wait()
            case "burn":
                with limit(submit.id):
                    while not self.release.is_set():
                        pass
            case "fail":
                raise RunnerError(Kind.TEMPLATE_ERROR, "no", hint="h", param="messages")
            case "break":
                raise ZeroDivisionError
        request = SequenceRequest(submit.id, (1,), None, deadline_s=deadline_s)
        return Prepared(request, ())

    def answer(self, ask: Ask, limit: Limit) -> Answered:
        assert isinstance(ask.question, TextPrompt)
        if ask.question.text == "hang":
            with limit(ask.id):
                self.release.wait()
        return Answered(ask.id, "it", (1,))


@pytest.fixture
def kitchen() -> Iterator[Kitchen]:
    kitchen = Kitchen()
    yield kitchen
    kitchen.release.set()


def test_what_is_submitted_is_delivered_with_its_deadline(kitchen: Kitchen) -> None:
    kitchen.preparer.submit(submit(1, deadline_s=5.0))
    prepared = kitchen.delivered.get(timeout=WAIT_S)
    assert prepared.request.id == 1
    assert prepared.request.deadline_s is not None
    assert len(kitchen.preparer) == 0


def test_a_question_is_answered_without_the_engine(kitchen: Kitchen) -> None:
    kitchen.preparer.submit(Ask(id=1, question=TextPrompt(text="")))
    assert kitchen.told.get(timeout=WAIT_S) == Answered(1, "it", (1,))
    assert len(kitchen.preparer) == 0


def test_an_answer_that_nobody_waits_for_is_dropped(kitchen: Kitchen) -> None:
    for id, words in enumerate(["hang", "hang", ""], start=1):  # two threads: the third waits
        kitchen.preparer.submit(Ask(id=id, question=TextPrompt(text=words)))
    assert kitchen.preparer.cancel(3)
    kitchen.release.set()
    assert {kitchen.told.get(timeout=WAIT_S).id for _ in range(2)} == {1, 2}
    assert len(kitchen.preparer) == 0
    assert kitchen.told.empty()


def test_a_refusal_is_told_as_it_is(kitchen: Kitchen) -> None:
    kitchen.preparer.submit(submit(1, "fail"))
    assert kitchen.refused.get(timeout=WAIT_S) == Failed(1, "template_error", "no", "h", "messages")


def test_a_fault_of_ours_fails_its_request_alone(
    kitchen: Kitchen, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        kitchen.preparer.submit(submit(1, "break"))
        assert kitchen.refused.get(timeout=WAIT_S).kind == "internal_error"
    kitchen.preparer.submit(submit(2))
    assert kitchen.delivered.get(timeout=WAIT_S).request.id == 2


def test_one_slow_request_does_not_hold_up_the_others(kitchen: Kitchen) -> None:
    kitchen.preparer.submit(submit(1, "hang"))
    assert kitchen.started.get(timeout=WAIT_S) == 1
    kitchen.preparer.submit(submit(2))
    assert kitchen.delivered.get(timeout=WAIT_S).request.id == 2
    assert len(kitchen.preparer) == 1
    kitchen.release.set()
    assert kitchen.delivered.get(timeout=WAIT_S).request.id == 1


def test_what_was_cancelled_meanwhile_is_discarded(kitchen: Kitchen) -> None:
    kitchen.preparer.submit(submit(1, "hang"))
    assert kitchen.started.get(timeout=WAIT_S) == 1
    assert kitchen.preparer.cancel(1)
    assert not kitchen.preparer.cancel(1)
    kitchen.release.set()
    assert kitchen.discarded.get(timeout=WAIT_S).request.id == 1
    assert kitchen.delivered.empty()


def test_what_was_cancelled_in_the_queue_is_never_started(kitchen: Kitchen) -> None:
    for id in (1, 2):
        kitchen.preparer.submit(submit(id, "hang"))
        kitchen.started.get(timeout=WAIT_S)
    kitchen.preparer.submit(submit(3))
    assert kitchen.preparer.cancel(3)
    kitchen.preparer.submit(submit(4))
    kitchen.release.set()
    delivered = {kitchen.delivered.get(timeout=WAIT_S).request.id for _ in range(3)}
    assert delivered == {1, 2, 4}
    assert kitchen.started.get(timeout=WAIT_S) == 4


def test_an_unknown_id_is_not_here(kitchen: Kitchen) -> None:
    assert not kitchen.preparer.cancel(9)


@pytest.fixture
def hasty() -> Iterator[Callable[[], Kitchen]]:
    """A kitchen whose limit passes at once."""
    made: list[Kitchen] = []

    def make() -> Kitchen:
        made.append(Kitchen(limit_s=0.0))
        return made[-1]

    yield make
    for kitchen in made:
        kitchen.release.set()


def test_a_template_that_hangs_fails_its_request_and_costs_a_thread(
    hasty: Callable[[], Kitchen],
) -> None:
    kitchen = hasty()
    for id in range(MAX_HUNG):
        kitchen.preparer.submit(submit(id, "hang"))
        failed = kitchen.refused.get(timeout=WAIT_S)
        assert (failed.id, failed.kind) == (id, "template_error")
    for id in (10, 11, 12):
        kitchen.preparer.submit(submit(id))
        assert kitchen.delivered.get(timeout=WAIT_S).request.id == id
    assert not kitchen.gave_up.is_set()


def test_too_many_hanging_threads_are_reported(hasty: Callable[[], Kitchen]) -> None:
    kitchen = hasty()
    for id in range(MAX_HUNG + 1):
        kitchen.preparer.submit(submit(id, "hang"))
        assert kitchen.refused.get(timeout=WAIT_S).id == id
    assert kitchen.gave_up.wait(WAIT_S)


def test_a_late_template_delivers_nothing_any_more(hasty: Callable[[], Kitchen]) -> None:
    kitchen = hasty()
    kitchen.preparer.submit(submit(1, "hang"))
    kitchen.refused.get(timeout=WAIT_S)
    kitchen.release.set()
    kitchen.preparer.submit(submit(2))
    assert kitchen.delivered.get(timeout=WAIT_S).request.id == 2
    assert kitchen.delivered.empty() and kitchen.discarded.empty()


@pytest.mark.skipif(
    sys.platform in ("win32", "darwin"), reason="a thread's CPU time can be read by itself alone"
)
def test_a_thread_that_is_kept_waiting_is_not_late() -> None:
    kitchen = Kitchen(limit_s=0.05)
    kitchen.preparer.submit(submit(1, "hang"))
    assert kitchen.started.get(timeout=WAIT_S) == 1
    kitchen.preparer.submit(submit(2, "burn"))
    assert kitchen.refused.get(timeout=WAIT_S).id == 2
    kitchen.release.set()
    assert kitchen.delivered.get(timeout=WAIT_S).request.id == 1
    assert kitchen.refused.empty()
