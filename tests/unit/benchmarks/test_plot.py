from __future__ import annotations

from xml.etree import ElementTree

from benchmarks import plot

SVG = "{http://www.w3.org/2000/svg}"


def texts(document: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(document).iter(f"{SVG}text")]


def test_bars_are_well_formed_and_labelled() -> None:
    document = plot.bars(
        "tokens & ratios", ["1 stream", "8 <streams>"], {"ours": [3.0, 1.0]}, y_label="ratio"
    )
    assert {"tokens & ratios", "ratio", "ours", "1 stream", "8 <streams>"} <= set(texts(document))


def test_a_bar_ends_at_its_value_and_starts_at_zero() -> None:
    document = plot.bars("t", ["g"], {"s": [5.0]}, y_label="y")
    *_, bar = ElementTree.fromstring(document).iter(f"{SVG}rect")
    top, height = float(bar.attrib["y"]), float(bar.attrib["height"])
    assert (top, top + height) == (plot.TOP, plot.HEIGHT - plot.BOTTOM)


def test_what_was_not_measured_has_no_bar() -> None:
    measured = plot.bars("t", ["a", "b"], {"s": [1.0, 2.0]}, y_label="y")
    missing = plot.bars("t", ["a", "b"], {"s": [1.0, float("nan")]}, y_label="y")
    assert missing.count("<rect") == measured.count("<rect") - 1


def test_lines_run_through_their_points_on_a_logarithmic_axis() -> None:
    points = [(1.0, 1.0), (10.0, 10.0), (100.0, 100.0)]
    document = plot.lines("t", {"s": points}, x_label="x", y_label="y", log_x=True, log_y=True)
    (line,) = ElementTree.fromstring(document).iter(f"{SVG}polyline")
    (x0, y0), (x1, y1), (x2, y2) = (
        map(float, point.split(",")) for point in line.attrib["points"].split()
    )
    assert (x1 - x0, y1 - y0) == (x2 - x1, y2 - y1)
    assert (x0, y0) == (plot.LEFT, plot.HEIGHT - plot.BOTTOM)


def test_one_point_and_no_point_are_plots_too() -> None:
    for points in ([], [(3.0, 7.0)]):
        ElementTree.fromstring(plot.lines("t", {"s": points}, x_label="x", y_label="y"))
