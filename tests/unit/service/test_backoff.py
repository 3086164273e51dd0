from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.service.backoff import Backoff
from runner.service.residency import ModelKey

KEY = ModelKey("sha256:1")
CAUSE = RunnerError(
    Kind.ENGINE_CRASHED, "it crashed (SIGSEGV)", hint="see the log", details={"signal": "SIGSEGV"}
)


def failed_times(count: int) -> Backoff:
    backoff = Backoff()
    for _ in range(count):
        backoff.note(KEY, CAUSE, up_s=0.0, now_s=100.0)
    return backoff


def is_refused(backoff: Backoff, now_s: float) -> bool:
    return backoff.refusal(KEY, name="smol", now_s=now_s) is not None


@pytest.mark.parametrize(
    ("count", "wait_s"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (7, 32), (8, 60), (500, 60)]
)
def test_the_first_failure_costs_nothing_then_the_wait_doubles(count: int, wait_s: float) -> None:
    backoff = failed_times(count)
    assert is_refused(backoff, max(100.0, 99.9 + wait_s)) is (wait_s > 0)
    assert not is_refused(backoff, 100.0 + wait_s)


def test_an_engine_that_ran_well_for_a_while_starts_anew() -> None:
    backoff = failed_times(5)
    backoff.note(KEY, CAUSE, up_s=60.0, now_s=500.0)
    assert not is_refused(backoff, 500.0)
    backoff.note(KEY, CAUSE, up_s=59.9, now_s=600.0)
    assert is_refused(backoff, 600.9)
    assert not is_refused(backoff, 601.0)


def test_a_file_at_fault_and_another_model_are_not_held_back() -> None:
    backoff = failed_times(3)
    bad = ModelKey("sha256:2")
    for _ in range(3):
        backoff.note(bad, RunnerError(Kind.INVALID_MODEL, "it is damaged"), up_s=0.0, now_s=100.0)
    assert backoff.refusal(bad, name="bad", now_s=100.0) is None


def test_too_early_is_refused_with_the_cause_and_when_to_come_back() -> None:
    error = failed_times(4).refusal(KEY, name="smol", now_s=100.5)
    assert error is not None
    assert error.kind is Kind.UNAVAILABLE
    assert error.message == (
        "the engine of smol failed 4 times in a row; the last time: it crashed (SIGSEGV)"
    )
    assert (error.hint, error.details, error.retry_after_s) == ("see the log", CAUSE.details, 4)
