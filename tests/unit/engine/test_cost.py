"""What rows cost is learned point by point, without a formula and without haste."""

from __future__ import annotations

import pytest

from runner.engine.cost import Cost


def learned(points: dict[int, float], *, times: int = 50) -> Cost:
    cost = Cost(first_row_s=0.01)
    for _ in range(times):
        for rows, seconds in points.items():
            cost.observe(rows, seconds)
    return cost


def test_before_the_first_observation_a_guess_a_row_stands() -> None:
    cost = Cost(first_row_s=0.01)
    assert not cost.is_known
    assert (cost(1), cost(30), cost.best_row_s) == (0.01, pytest.approx(0.3), 0.01)


def test_one_observation_is_believed_in_proportion() -> None:
    cost = learned({32: 0.064}, times=1)
    assert cost.is_known
    assert [cost(16), cost(32), cost(64)] == pytest.approx([0.032, 0.064, 0.128])


@pytest.mark.parametrize(
    ("rows", "seconds"), [(1, 0.004), (2, 0.024), (5, 0.024), (8, 0.024), (16, 0.026), (64, 0.060)]
)
def test_steps_in_the_cost_show_as_they_are(rows: int, seconds: float) -> None:
    cost = learned({1: 0.004, 2: 0.024, 8: 0.024, 32: 0.030})
    assert cost(rows) == pytest.approx(seconds)


def test_the_cheapest_rows_are_known() -> None:
    assert learned({8: 0.016, 64: 0.064, 128: 0.256}).best_row_s == pytest.approx(0.001)


def test_large_numbers_of_rows_are_taken_together() -> None:
    cost = learned({92: 0.092, 100: 0.100})
    assert [cost(92), cost(96), cost(100)] == pytest.approx([0.092, 0.096, 0.1])


def test_one_step_that_was_held_up_is_believed_by_a_quarter() -> None:
    cost = learned({8: 0.01})
    cost.observe(8, 5.0)
    assert cost(8) == pytest.approx(0.01 * 1.125**2)


def test_a_slower_machine_is_believed_within_a_dozen_steps_for_other_rows_by_half() -> None:
    cost = learned({8: 0.01, 64: 0.08})
    for _ in range(24):
        cost.observe(8, 0.02)
    assert cost(8) == pytest.approx(0.02, rel=0.02)
    assert cost(64) == pytest.approx(0.08 * 2**0.5, rel=0.02)


def test_what_was_not_seen_for_long_is_forgotten_but_for_the_cheapest() -> None:
    cost = learned({16: 0.02, 64: 0.9, 128: 0.1}, times=1)
    for _ in range(300):
        cost.observe(16, 0.02)
    assert cost(64) == pytest.approx(0.02 + 48 / 112 * 0.08)


def test_rows_that_seem_to_cost_nothing_cost_a_little() -> None:
    cost = learned({4: -0.01})
    assert 0 < cost(4) < 1e-6
