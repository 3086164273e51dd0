"""Prometheus' text format, as its own parser reads it."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runner.api.management.exposition import Family, Sample, Type, histogram, number, render

TEXT = r"""# HELP x_total one\\two\nthree
# TYPE x_total counter
x_total{model="a\"b\\c\nd"} 3
"""


def test_help_and_labels_are_escaped() -> None:
    family = Family("x_total", Type.COUNTER, "one\\two\nthree", [Sample({"model": 'a"b\\c\nd'}, 3)])
    assert render([family]) == TEXT
    [read] = text_string_to_metric_families(TEXT)
    assert read.samples[0].labels == {"model": 'a"b\\c\nd'}


def test_a_histogram_has_buckets_a_sum_and_a_count() -> None:
    samples = [*histogram({"model": "a"}, [(0.5, 1), (2.0, 3), (math.inf, 4)], 7.25)]
    assert render([Family("wait_seconds", Type.HISTOGRAM, "of waiting", samples)]) == (
        "# HELP wait_seconds of waiting\n"
        "# TYPE wait_seconds histogram\n"
        'wait_seconds_bucket{model="a",le="0.5"} 1\n'
        'wait_seconds_bucket{model="a",le="2"} 3\n'
        'wait_seconds_bucket{model="a",le="+Inf"} 4\n'
        'wait_seconds_sum{model="a"} 7.25\n'
        'wait_seconds_count{model="a"} 4\n'
    )


def test_a_family_without_samples_is_left_out() -> None:
    assert render([Family("x", Type.GAUGE, "nothing", [])]) == ""


def test_what_is_no_number_is_told_as_that() -> None:
    assert number(math.nan) == "NaN"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (True, "1"), (2.0, "2"), (0.025, "0.025"), (1e300, str(10**300)[:1])],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value).startswith(text)
    assert float(number(value)) == value
