from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks import harness
from benchmarks.harness import Comparison, cell, pairs, percentile, rounds, table


def test_every_other_round_runs_in_reverse_order() -> None:
    order: list[str] = []
    rounds({name: lambda name=name: order.append(name) for name in "abc"}, count=3)
    assert "".join(order) == "abccbaabc"


def test_no_round_begins_that_would_end_after_the_limit() -> None:
    now = iter([0.0, 0.0, 4.0, 4.0, 8.0, 8.0, 12.0])  # begin, then before and after each round
    results = rounds({"a": lambda: 1}, count=5, limit_s=11.0, clock=lambda: next(now))
    assert results == {"a": [1, 1]}


def test_the_first_round_runs_whatever_the_limit() -> None:
    assert len(pairs(lambda: 2.0, lambda: 1.0, count=5, limit_s=0.0).a) == 1


def test_the_ratio_is_the_median_of_the_pairs_ratios_and_not_the_ratio_of_medians() -> None:
    comparison = Comparison(a=(10.0, 30.0, 20.0), b=(10.0, 10.0, 40.0))
    assert comparison.ratios == [1.0, 3.0, 0.5]
    assert comparison.row("ours", "theirs") == {
        "ours": 20.0,
        "theirs": 10.0,
        "ratio": 1.0,
        "range": "0.50..3.00",
        "pairs": 3,
    }


def test_nothing_measured_gives_no_ratio() -> None:
    assert math.isnan(Comparison(a=(1.0,), b=(0.0,)).ratio)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 5.0), (0.95, 10.0), (1.0, 10.0)])
def test_a_percentile_is_one_of_the_samples(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(10, 0, -1)], share) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.0123"), (float("nan"), "-")],
)
def test_a_number_is_written_with_the_digits_that_mean_something(value: float, text: str) -> None:
    assert cell(value) == text


def test_a_table_is_markdown_with_numbers_to_the_right() -> None:
    assert table(["row", "tok/s"], [["one", 1.5], ["eleven", 120.0]]) == (
        "|    row | tok/s |\n|-------:|------:|\n|    one |  1.50 |\n| eleven |   120 |"
    )


def test_a_report_is_written_with_the_machine_and_the_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "result.json"
    harness.report("name", {"json": out, "pairs": 5}, [{"row": "one", "ratio": 2.0}], out)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["options"] == {"json": str(out), "pairs": 5}
    assert result["rows"] == [{"row": "one", "ratio": 2.0}]
    assert {"cpu", "cores", "commit", "load_1min"} <= set(result["machine"])
    assert "| one |  2.00 |" in capsys.readouterr().out
