"""The step's budget: whole batches alone, short steps beside streams, whole blocks of rows."""

from __future__ import annotations

import pytest

from runner.engine.limits import Policy
from runner.engine.pace import Pace


def pace(*, row_s: float = 0.001, decode_s: float = 0.01, batch_size: int = 512) -> Pace:
    """A pace that has seen many steps of a machine with these times."""
    pace = Pace(Policy(target_gap_s=0.1, max_step_s=1.0), batch_size=batch_size)
    for _ in range(100):
        pace.observe(4, 0, decode_s)
        pace.observe(4, 100, decode_s + 100 * row_s)
    return pace


@pytest.mark.parametrize(
    ("row_s", "decode_s", "decode_rows", "rows"),
    [
        (0.001, 0.010, 0, 512),  # nobody waits for a token: the whole batch
        (0.010, 0.010, 0, 96),  # but no step of more than a second
        (0.001, 0.010, 4, 60),  # 90 ms are left; 60 + 4 rows are two blocks
        (0.0001, 0.010, 4, 508),  # fast: what the batch holds
        (0.010, 0.010, 4, 16),  # slow: still a few rows, or the prompt never ends
        (0.001, 0.200, 4, 16),  # streams alone are over the target
        (0.001, 0.010, 32, 64),
    ],
)
def test_the_budget_follows_what_steps_cost(
    row_s: float, decode_s: float, decode_rows: int, rows: int
) -> None:
    assert pace(row_s=row_s, decode_s=decode_s).prompt_rows(decode_rows) == rows


@pytest.mark.parametrize(("batch_size", "rows"), [(8, 3), (500, 495)])
def test_the_batch_bounds_everything_and_may_be_filled(batch_size: int, rows: int) -> None:
    assert pace(row_s=0.0001, batch_size=batch_size).prompt_rows(5) == rows


def test_before_any_measurement_a_few_rows_are_tried_and_believed() -> None:
    new = Pace(Policy(target_gap_s=0.1, max_step_s=1.0), batch_size=512)
    assert (new.prompt_rows(1), new.prompt_rows(0)) == (16, 96)
    new.observe(0, 96, 0.048)
    assert new.prompt_rows(0) == 512


def test_one_slow_step_does_not_halve_the_budget_for_long() -> None:
    learned = pace()
    learned.observe(4, 60, 2.0)
    assert learned.prompt_rows(4) < 60
    for _ in range(12):
        learned.observe(4, 28, 0.01 + 28 * 0.001)
    assert learned.prompt_rows(4) == 60


def test_a_handful_of_rows_teaches_nothing_about_rows() -> None:
    learned = pace()
    for _ in range(100):
        learned.observe(4, 3, 0.05)
    assert learned.prompt_rows(4) == 60


def test_a_step_faster_than_its_streams_alone_is_survived() -> None:
    learned = pace()
    for _ in range(100):
        learned.observe(4, 100, 0.001)
    assert learned.prompt_rows(4) == 508
