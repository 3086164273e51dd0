from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.service.backoff import Failures, after_failure, refusal

CAUSE = RunnerError(
    Kind.ENGINE_CRASHED, "it crashed (SIGSEGV)", hint="see the log", details={"signal": "SIGSEGV"}
)


def failed_times(count: int) -> Failures:
    failures: Failures | None = None
    for _ in range(count):
        failures = after_failure(failures, CAUSE, up_s=0.0, now_s=100.0)
    assert failures is not None
    return failures


@pytest.mark.parametrize(
    ("count", "wait_s"), [(1, 0), (2, 1), (3, 2), (4, 4), (7, 32), (8, 60), (500, 60)]
)
def test_the_first_failure_costs_nothing_then_the_wait_doubles(count: int, wait_s: float) -> None:
    assert failed_times(count).retry_at_s == 100.0 + wait_s


def test_an_engine_that_ran_well_for_a_while_starts_anew() -> None:
    again = after_failure(failed_times(5), CAUSE, up_s=60.0, now_s=500.0)
    assert again == Failures(1, 500.0, CAUSE)


def test_too_early_is_refused_with_the_cause_and_when_to_come_back() -> None:
    error = refusal(failed_times(4), name="smol", now_s=100.5)
    assert error is not None
    assert error.kind is Kind.UNAVAILABLE
    assert error.message == (
        "the engine of smol failed 4 times in a row; the last time: it crashed (SIGSEGV)"
    )
    assert (error.hint, error.details, error.retry_after_s) == ("see the log", CAUSE.details, 4)


@pytest.mark.parametrize("failures", [None, failed_times(1), failed_times(3)])
def test_in_time_nothing_is_refused(failures: Failures | None) -> None:
    assert refusal(failures, name="smol", now_s=102.0) is None
