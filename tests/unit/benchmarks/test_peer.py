from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from benchmarks import peer, rows
from benchmarks.copying import TASKS, Copy, compare
from benchmarks.harness import Comparison
from benchmarks.rows import Line


def test_a_time_is_better_when_ours_is_shorter() -> None:
    line = Line("time", "ms", is_time=True)
    assert rows.better(line, [10.0, 20.0], [50.0, 40.0]).ratios == [5.0, 2.0]
    assert rows.better(Line("rate", "tok/s"), [10.0], [5.0]).ratios == [2.0]


@pytest.mark.parametrize(
    ("targets", "wanted", "met"),
    [
        ((1.8, None), ">= 1.8", "yes"),
        ((1.4, 1.0), ">= 1.4 / >= 1", "no"),
        ((None, None), "-", "-"),
    ],
)
def test_a_line_is_met_when_all_its_targets_are(
    targets: tuple[float | None, float | None], wanted: str, met: str
) -> None:
    ours, theirs = [20.0, 22.0, 24.0], ([10.0, 11.0, 12.0], [40.0, 22.0, 48.0])
    ratios = [Comparison(tuple(ours), tuple(their)) for their in theirs]
    line = rows.render("row", ours, theirs, ratios, targets)
    assert (line["ratio"], line["ratio to best"], line["target"]) == (2.0, 0.5, wanted)
    assert (line["met"], line["pairs"], line["range to best"]) == (met, 3, "0.50..1.00")


def test_a_line_about_ours_alone_has_no_rivals() -> None:
    line = rows.own("share", Comparison((5.0,), (10.0,)), 0.45)
    assert (line["ratio"], line["met"]) == (0.5, "yes")
    assert math.isnan(line["its defaults"])
    ElementTree.fromstring(rows.drawn([line]))


def test_a_line_of_another_benchmark_may_have_a_ratio_at_most() -> None:
    line = rows.told("memory", ours=90.0, theirs=100.0, ratio=0.9, at_most=1.0)
    assert (line["target"], line["met"], line["ratio"]) == ("<= 1", "yes", 0.9)
    alone = rows.told("share", ours=0.04, at_most=0.03)
    assert (alone["target"], alone["met"]) == ("<= 0.03", "no")


def test_copies_are_compared_by_speed_and_by_text() -> None:
    fast = {task: Copy("same", 30.0, 10, 8) for task in TASKS}
    slow = {task: Copy("same", 20.0, 0, 0) for task in TASKS}
    other = slow | {"repeat": Copy("other", 20.0, 0, 0)}
    first, second, *_ = compare([fast, fast], [slow, other])
    assert (first["task"], first["ratio"], first["identical"]) == ("repeat", 1.5, "no")
    assert (second["accepted"], second["identical"]) == (0.8, "yes")


def test_tasks_weigh_the_same() -> None:
    copies = {"a": Copy("", 10.0, 0, 0), "b": Copy("", 30.0, 0, 0)}
    assert peer.total_tokens_per_s(copies) == pytest.approx(15.0)


def test_rows_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert peer.parse(["--rows", "serving_8,copying"]).names == ["serving_8", "copying"]
    assert set(peer.DEFAULT_ROWS) < set(peer.parse(["--rows", "all"]).names)
    with pytest.raises(SystemExit):
        peer.parse(["--rows", "no_such"])
    assert "no such row: no_such" in capsys.readouterr().err
