"""The step's budget: whole batches alone, short steps beside streams, a fair share when slow."""

from __future__ import annotations

from math import inf

import pytest

from runner.engine.limits import Policy
from runner.engine.pace import Pace


def pace(
    *,
    row_s: float = 0.001,
    decode_s: float = 0.01,
    pass_s: float = 0.0,
    batch_size: int = 512,
    is_mixed: bool = True,
) -> Pace:
    """A pace that has seen many steps of a machine with these times."""
    pace = Pace(Policy(target_gap_s=0.1, max_step_s=1.0), batch_size=batch_size, is_mixed=is_mixed)
    for _ in range(20):
        for rows in (1, 4, 32):
            pace.observe(rows, 0, decode_s)
        for rows in (8, 16, 32, 64, 96, 480):
            pace.observe(4, rows, decode_s + pass_s + rows * row_s)
    return pace


@pytest.mark.parametrize(
    ("row_s", "decode_s", "decode_rows", "rows"),
    [
        (0.001, 0.010, 0, 512),  # nobody waits for a token: the whole batch
        (0.010, 0.010, 0, 96),  # but no step of more than a second
        (0.001, 0.010, 4, 60),  # 90 ms are left; 60 + 4 rows are two blocks
        (0.0001, 0.010, 4, 508),  # fast: what the batch holds
        (0.010, 0.010, 4, 8),  # slow rows: a few
        (0.100, 0.010, 4, 8),  # even over the target, or the prompt never ends
        (0.001, 0.100, 4, 124),  # streams alone take the target: three fifths of the time
        (0.001, 0.010, 32, 64),
        (0.001, 0.800, 4, 508),
    ],
)
def test_the_budget_follows_what_steps_cost(
    row_s: float, decode_s: float, decode_rows: int, rows: int
) -> None:
    assert pace(row_s=row_s, decode_s=decode_s).prompt_rows(decode_rows) == rows


@pytest.mark.parametrize(("prompts", "rows"), [(1, 124), (4, 188), (8, 380), (100, 380)])
def test_many_prompts_beside_few_streams_get_more_time(prompts: int, rows: int) -> None:
    assert pace(row_s=0.001, decode_s=0.1).prompt_rows(4, prompts=prompts) == rows


def test_a_prompt_with_a_pass_of_its_own_gets_whole_blocks_of_its_own() -> None:
    assert pace(is_mixed=False).prompt_rows(4) == 64


@pytest.mark.parametrize(("pass_s", "rows"), [(0.0, 8), (0.02, 60)])
def test_a_piece_goes_over_its_time_rather_than_waste_most_of_it(pass_s: float, rows: int) -> None:
    assert pace(row_s=0.004, decode_s=0.06, pass_s=pass_s).prompt_rows(4) in (8, 16, rows)


@pytest.mark.parametrize(("batch_size", "rows"), [(8, 3), (500, 495)])
def test_the_batch_bounds_everything_and_may_be_filled(batch_size: int, rows: int) -> None:
    assert pace(row_s=0.0001, batch_size=batch_size).prompt_rows(5) == rows


def test_before_any_measurement_a_few_rows_are_tried_and_believed() -> None:
    new = Pace(Policy(target_gap_s=0.1, max_step_s=1.0), batch_size=512, is_mixed=True)
    assert (new.prompt_rows(1), new.prompt_rows(0)) == (8, 96)
    new.observe(0, 96, 0.048)
    assert new.prompt_rows(0) == 512


def test_streams_that_never_ran_alone_are_told_from_their_prompts() -> None:
    new = Pace(Policy(target_gap_s=0.1, max_step_s=1.0), batch_size=512, is_mixed=True)
    new.observe(0, 96, 0.096)
    new.observe(4, 32, 0.082)
    assert new.decode_s(4) == pytest.approx(0.05)


def test_one_slow_step_changes_the_size_little_and_not_for_long() -> None:
    learned = pace()
    learned.observe(4, 60, 2.0)
    assert learned.prompt_rows(4) in (28, 60)
    for _ in range(12):
        learned.observe(4, 60, 0.01 + 60 * 0.001)
    assert learned.prompt_rows(4) == 60


def test_a_size_that_is_about_right_stays() -> None:
    learned = pace(row_s=0.0002)
    sizes = set()
    for step in range(40):
        rows = learned.prompt_rows(4)
        sizes.add(rows)
        learned.observe(4, rows, 0.01 + rows * 0.0002 * (1.08 if step % 2 else 0.92))
    assert len(sizes) == 1


def test_a_step_faster_than_its_streams_alone_is_survived() -> None:
    learned = pace()
    for _ in range(100):
        learned.observe(4, 96, 0.001)
    assert learned.prompt_rows(4) == 508


def test_who_waits_long_for_each_token_waits_a_little_longer_for_a_copy() -> None:
    assert pace(decode_s=0.01).patience_s(4) == pytest.approx(0.09, rel=0.01)
    assert pace(decode_s=0.4).patience_s(4) == pytest.approx(0.1, rel=0.01)
    assert pace().patience_s(0) == inf


def test_a_step_that_was_faster_than_its_streams_alone_does_not_make_prompt_rows_free() -> None:
    learning = pace()
    learning.observe(4, 200, 0.008)
    assert learning.row_s == pytest.approx(0.008 / 204 / 16, rel=0.5)
