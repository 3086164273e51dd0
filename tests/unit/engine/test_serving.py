"""What clients see with steps of known cost, beside an engine that computes whole prompts first."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from runner.engine.limits import Policy
from tests.unit.engine.clients import Outcome, Request, StepCost, simulate
from tests.unit.engine.driver import capacity

WHOLE = Policy(target_gap_s=math.inf)  # whatever the streams wait: what llama-server does


def slow_rows(decode: int, prompt: int) -> float:
    """Every row takes its time."""
    return 0.002 + 0.012 * (decode + prompt)


def blocks(decode: int, prompt: int) -> float:
    """Matrix kernels that compute 32 rows in the time of two."""
    rows = decode + prompt
    return 0.004 if rows == 1 else 0.002 + 0.020 * math.ceil(rows / 32)


def passes(decode: int, prompt: int) -> float:
    """One KV stream a slot: two passes, each with a fixed cost."""
    streams_s = 0.010 + 0.006 * decode if decode else 0.0
    return streams_s + (0.010 + 0.0025 * prompt if prompt else 0.0)


def large(decode: int, prompt: int) -> float:
    """Streams alone are far over the target gap."""
    streams_s = 0.1 + 0.05 * decode if decode else 0.0
    return streams_s + (0.1 + 0.03 * prompt if prompt else 0.0)


def fast(decode: int, prompt: int) -> float:
    """A graphics card."""
    return 0.010 + 0.0001 * (decode + prompt)


MACHINES = [slow_rows, blocks, passes, large, fast]


def run(clients: list[list[Request]], cost: StepCost, policy: Policy | None = None) -> Outcome:
    is_mixed = cost not in (passes, large)
    limits = capacity(slots=8, parallel=8, context_size=4096, batch_size=512, streams=not is_mixed)
    return simulate(clients, cost, limits=limits, policy=policy)


@pytest.mark.parametrize("cost", MACHINES)
def test_a_long_prompt_slows_the_streams_without_stopping_them(cost: StepCost) -> None:
    clients = [[Request(50, 100)] for _ in range(4)] + [[Request(2000, 4, start_s=2.0)]]
    ours, whole = run(clients, cost), run(clients, cost, WHOLE)
    streams = range(4)
    longest_s, stall_s = ours.longest_gap_s(streams), whole.longest_gap_s(streams)
    assert longest_s <= (1.25 * stall_s if cost is fast else 0.33 * stall_s)
    assert ours.rate >= 0.9 * whole.rate
    assert ours.first_s([4]) <= 1.6 * whole.first_s([4])


@pytest.mark.parametrize("cost", MACHINES)
@pytest.mark.parametrize("streams", [4, 8])
def test_work_does_not_suffer_from_short_steps(cost: StepCost, streams: int) -> None:
    lengths = [100, 135, 121, 107, 114, 128]
    clients = [
        [Request(lengths[(5 * client + turn) % 6], 48) for turn in range(3)]
        for client in range(streams)
    ]
    ours, whole = run(clients, cost), run(clients, cost, WHOLE)
    everybody = range(streams)
    assert ours.rate >= 0.93 * whole.rate
    assert ours.first_s(everybody) <= 1.35 * whole.first_s(everybody)
    assert ours.longest_gap_s(everybody) <= max(0.5, 0.75 * whole.longest_gap_s(everybody))


def test_pieces_keep_one_size_while_the_streams_stay_the_same() -> None:
    clients = [[Request(50, 300)] for _ in range(3)] + [[Request(2000, 4, start_s=1.0)]]
    sizes = [rows for decode, rows in run(clients, blocks).pieces if decode == 3]
    changes = sum(a != b for a, b in pairwise(sizes))
    assert len(sizes) >= 12
    assert changes <= 4
