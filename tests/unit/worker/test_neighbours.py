"""Threads follow what others leave of the machine."""

from __future__ import annotations

import pytest

from runner.worker.neighbours import CpuTime, Neighbours, cores_of_others


def threads(neighbours: Neighbours, seconds: list[tuple[float, float]]) -> list[int]:
    """Observe one second after another: (cores others used, cores we used) in each."""
    busy = own = 0.0
    given = [neighbours.observe(CpuTime(0.0, busy, own))]
    for at, (others, ours) in enumerate(seconds, 1):
        busy, own = busy + others + ours, own + ours
        given.append(neighbours.observe(CpuTime(float(at), busy, own)))
    return given


@pytest.mark.parametrize(
    ("cpus", "most", "seconds", "expected"),
    [
        (2, 2, [(0.0, 2.0), (0.4, 1.6)], [2, 2, 2]),  # a small load is no neighbour
        (2, 2, [(0.7, 1.3), (1.0, 1.0)], [2, 1, 1]),  # shed within a second
        (2, 2, [(1.0, 1.0), (0.0, 1.0), (0.0, 1.0)], [2, 1, 1, 2]),  # free twice: taken back
        (2, 2, [(1.0, 1.0), (0.0, 1.0), (1.0, 1.0)], [2, 1, 1, 1]),  # a pause is no leaving
        (2, 2, [(9.0, 0.1)], [2, 1]),  # never none
        (8, 4, [(3.0, 4.0), (6.0, 2.0)], [4, 4, 2]),  # spare cores take the neighbours
        (8, 8, [(1.0, 7.0)], [8, 7]),
    ],
)
def test_threads_follow_the_free_cores(
    cpus: int, most: int, seconds: list[tuple[float, float]], expected: list[int]
) -> None:
    assert threads(Neighbours(cpus=cpus, most=most), seconds) == expected


def test_a_neighbour_is_met_and_missed_within_a_second() -> None:
    neighbours = Neighbours(cpus=2, most=2)
    given = []
    busy = own = 0.0
    for quarter in range(10):
        others = 1.0 if 2 <= quarter < 6 else 0.0
        busy, own = busy + (others + 1.0) / 4, own + 1.0 / 4
        given.append(neighbours.observe(CpuTime(quarter / 4, busy, own)))
    assert given == [2, 2, 1, 1, 1, 1, 1, 2, 2, 2]


def test_too_short_a_time_tells_nothing() -> None:
    neighbours = Neighbours(cpus=2, most=2)
    neighbours.observe(CpuTime(1.0, 1.0, 1.0))
    assert neighbours.observe(CpuTime(1.0, 9.0, 1.0)) == 2
    assert neighbours.observe(CpuTime(1.05, 9.0, 1.0)) == 2
    assert neighbours.observe(CpuTime(2.0, 2.5, 1.5)) == 1  # the whole second counts


def test_cores_of_others_are_all_work_but_our_own() -> None:
    before = CpuTime(10.0, busy_s=100.0, own_s=50.0)
    assert cores_of_others(before, CpuTime(12.0, busy_s=104.0, own_s=53.0)) == 0.5
    ticks_are_coarse = CpuTime(12.0, busy_s=101.0, own_s=52.0)
    assert cores_of_others(before, ticks_are_coarse) == 0.0
