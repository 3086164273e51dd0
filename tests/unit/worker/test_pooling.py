"""Settings, passes and norms of models that pool."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runner.wire.messages import EngineWishes
from runner.worker.pooling import Job, Packer, Texts, finish
from runner.worker.pooling_settings import choose, pass_rows
from runner.worker.settings import Machine

MACHINE = Machine(
    cpus=8, quota_cpus=None, physical_cores=4, available_bytes=1 << 34, device_free_bytes=None
)


def job(id: int, *lengths: int, width: int = 2, **more: Any) -> Job:
    texts = tuple(tuple(range(length)) for length in lengths)
    request = Texts(id, texts, **({"dimensions": None, "norm": 2, "deadline_s": None} | more))
    return Job(request, np.zeros((len(lengths), width), np.float32))


def passes(packer: Packer) -> list[list[tuple[int, int]]]:
    """All passes: ids and indices."""
    found = []
    while len(packer):
        found.append([(taken.request.id, index) for taken, index in packer.next()])
    return found


def test_texts_of_all_jobs_share_passes_in_turn() -> None:
    packer = Packer(rows=10, texts=8)
    packer.add(job(1, 4, 4, 4, 4))
    packer.add(job(2, 2))
    assert passes(packer) == [[(1, 0), (2, 0), (1, 1)], [(1, 2), (1, 3)]]


def test_a_text_over_the_aim_has_a_pass_of_its_own() -> None:
    packer = Packer(rows=10, texts=8)
    packer.add(job(1, 3, 50, 3))
    assert passes(packer) == [[(1, 0)], [(1, 1)], [(1, 2)]]


def test_a_pass_has_so_many_texts_at_most() -> None:
    packer = Packer(rows=100, texts=2)
    packer.add(job(1, 1, 1, 1))
    assert passes(packer) == [[(1, 0), (1, 1)], [(1, 2)]]


def test_a_job_that_left_is_in_no_pass() -> None:
    packer = Packer(rows=10, texts=8)
    gone = job(1, 1, 1)
    packer.add(gone)
    packer.add(job(2, 1))
    packer.remove(gone)
    packer.remove(gone)
    assert passes(packer) == [[(2, 0)]]


@pytest.mark.parametrize(
    ("norm", "expected"),
    [(-1, [3, -4]), (0, [24570, -32760]), (1, [3 / 7, -4 / 7]), (2, [0.6, -0.8])],
    ids=["none", "largest", "taxicab", "euclid"],
)
def test_each_norm(norm: int, expected: list[float]) -> None:
    made = job(1, 1, 1, norm=norm)
    made.rows[:] = [[3, -4], [0, 0]]
    assert finish(made) == pytest.approx(np.array([expected, [0, 0]]), rel=1e-6)


def test_a_norm_is_taken_of_the_dimensions_that_are_left() -> None:
    made = job(1, 1, width=3, dimensions=2)
    made.rows[:] = [[3, 4, 100]]
    assert finish(made).tolist() == [pytest.approx([0.6, 0.8])]


@pytest.mark.parametrize("norm", [2, 64])
def test_no_norm_overflows(norm: int) -> None:
    made = job(1, 1, norm=norm)
    made.rows[:] = [[3e38, 3e38]]
    assert np.isfinite(finish(made)).all()


def test_a_text_fits_a_pass_and_a_pass_is_not_longer_than_it_gains() -> None:
    settings = choose(EngineWishes(), 512, MACHINE)
    assert (settings.context_size, settings.batch_size, pass_rows(settings)) == (512, 512, 512)
    settings = choose(EngineWishes(), 32768, MACHINE)
    assert (settings.context_size, settings.batch_size, pass_rows(settings)) == (4096, 4096, 512)
    settings = choose(EngineWishes(context_size=9000), 8192, MACHINE)
    assert (settings.context_size, settings.batch_size) == (8192, 8192)
    assert settings.flash_attention  # or a pass takes memory by the square of its length
    assert settings.threads == 4
