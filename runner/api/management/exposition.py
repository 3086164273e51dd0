"""Prometheus' text format, version 0.0.4. Pure.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


class Type(StrEnum):
    """What a family's numbers are."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Sample:
    """One number."""

    labels: Labels
    value: float
    suffix: str = ""  # of the family's name


@dataclass(frozen=True, slots=True)
class Family:
    """All numbers of one name."""

    name: str  # a counter's ends in _total, a unit is the base one: seconds, bytes
    type: Type
    help: str
    samples: Sequence[Sample]


def histogram(
    labels: Labels, buckets: Iterable[tuple[float, int]], total: float
) -> Iterator[Sample]:
    """Give the samples of one histogram: (upper bound, values up to it), the last infinite."""
    count = 0
    for bound, count in buckets:
        yield Sample({**labels, "le": number(bound)}, count, "_bucket")
    yield Sample(labels, total, "_sum")
    yield Sample(labels, count, "_count")


def render(families: Iterable[Family]) -> str:
    """Write families; one without samples is left out."""
    return "".join(line + "\n" for family in families if family.samples for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    about = family.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {family.name} {about}"
    yield f"# TYPE {family.name} {family.type}"
    for sample in family.samples:
        labels = ",".join(f'{name}="{_escape(value)}"' for name, value in sample.labels.items())
        shown = f"{{{labels}}}" if labels else ""
        yield f"{family.name}{sample.suffix}{shown} {number(sample.value)}"


def number(value: float) -> str:
    """Write a number as Go's ParseFloat reads it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) else repr(value)


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
