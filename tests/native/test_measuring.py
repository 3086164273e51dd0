"""Settings measured on the embedded model: small shapes, and no word about how fast."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import pytest
from msgspec.structs import replace

from runner.binding import Model
from runner.wire.messages import EngineSettings, EngineWishes, TunedSettings
from runner.worker.measuring import Bench
from runner.worker.settings import Machine, Traits, choose
from runner.worker.tuning import Shape, tuned_of

T = TypeVar("T")
SMALL = Shape(rows=2, each=20, depth=40, thread_counts=0)
SETTINGS: EngineSettings = choose(
    EngineWishes(threads=1),
    Traits(context_train=512, size_bytes=1, cell_elements=11_520, has_state=False),
    Machine(
        cpus=1,
        quota_cpus=None,
        physical_cores=1,
        available_bytes=8 * 1024**3,
        device_free_bytes=None,
    ),
)


def run(work: Generator[None, None, T]) -> tuple[T, int]:
    """Its result, and how many slices it took."""
    slices = 0
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value, slices
        slices += 1


@pytest.fixture
def bench(model: Model) -> Bench:
    return Bench(model, SETTINGS)


@pytest.mark.parametrize(
    "candidate",
    [
        tuned_of(SETTINGS),
        replace(tuned_of(SETTINGS), flash_attention=True),
        replace(tuned_of(SETTINGS), kv_layout="unified", ubatch_size=128),
    ],
)
def test_every_point_of_a_candidate_is_measured(bench: Bench, candidate: TunedSettings) -> None:
    result, slices = run(bench.measure(candidate, SMALL))
    assert result is not None
    rates = result.rates
    assert min(rates.one, rates.one_deep, rates.many, rates.prompt) > 0
    assert result.threads == {}
    assert slices > 3 * 6  # one native step each


def test_threads_are_tried_on_the_same_memory(bench: Bench) -> None:
    shape = Shape(rows=2, each=20, depth=40, thread_counts=2)
    result, _ = run(bench.measure(tuned_of(SETTINGS), shape, threads=(1, 2)))
    assert result is not None
    assert set(result.threads) == {1, 2}


def test_a_candidate_that_takes_too_long_is_given_up(bench: Bench) -> None:
    result, slices = run(bench.measure(tuned_of(SETTINGS), SMALL, limit_s=0.0))
    assert (result, slices) == (None, 1)


def test_a_probe_tells_seconds_a_row(bench: Bench) -> None:
    row_s, _ = run(bench.probe(tuned_of(SETTINGS)))
    assert 0 < row_s < 1


def test_closed_in_between_it_leaves_no_context_to_abort(bench: Bench) -> None:
    work = bench.measure(tuned_of(SETTINGS), SMALL)
    next(work)
    bench.abort()
    work.close()
    bench.abort()
