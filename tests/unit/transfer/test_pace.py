from __future__ import annotations

from runner.transfer.pace import Pace, Ramp, connections

PACE = Pace(run_blocks=32, most_connections=8)


def test_connections_double_as_long_as_that_makes_it_faster() -> None:
    ramp = Ramp()
    counts = []
    for rate in (20e6, 40e6, 80e6, 160e6):
        ramp = ramp.settle(rate)
        counts.append(connections(ramp, PACE, missing_blocks=40_000))
    assert counts == [2, 4, 8, 8]


def test_a_doubling_that_gains_little_is_the_last() -> None:
    ramp = Ramp().settle(100e6).settle(110e6).settle(900e6)
    assert connections(ramp, PACE, missing_blocks=40_000) == 2


def test_what_is_small_or_nearly_done_gets_few() -> None:
    ramp = Ramp().settle(1e6).settle(2e6).settle(4e6)
    assert [connections(ramp, PACE, missing_blocks=n) for n in (1, 64, 100, 256)] == [1, 2, 3, 8]
