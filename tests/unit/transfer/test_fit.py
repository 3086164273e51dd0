from __future__ import annotations

import pytest

from runner.transfer.fit import Fit, judge_fit

GIB = 1024**3


@pytest.mark.parametrize(
    ("size_bytes", "memory_bytes", "fit"),
    [
        (4 * GIB, 16 * GIB, Fit.YES),
        (14 * GIB, 16 * GIB, Fit.YES),
        (15 * GIB, 16 * GIB, Fit.PARTIAL),
        (16 * GIB, 16 * GIB, Fit.PARTIAL),
        (17 * GIB, 16 * GIB, Fit.NO),
        (GIB // 10, GIB // 2, Fit.PARTIAL),
        (1, 0, Fit.NO),
    ],
)
def test_what_fits(size_bytes: int, memory_bytes: int, fit: Fit) -> None:
    assert judge_fit(size_bytes, memory_bytes=memory_bytes) is fit
