"""The rows of the comparison with llama-server: their figures, their targets, their lines. Pure.

Ratios say how many times better ours is: tokens a second of ours over theirs, milliseconds and
bytes of theirs over ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import (
    conversation,
    decode_depth,
    interference,
    neighbour,
    plot,
    serving,
    shared_prefix,
)  # fmt: skip
from benchmarks.alone import Measure
from benchmarks.harness import Comparison, median

NOTHING = float("nan")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a figure, and how many times better than theirs ours shall be."""

    text: str
    key: str
    is_time: bool = False  # less is better
    targets: tuple[float | None, float | None] = (None, None)  # against defaults, against best


@dataclass(frozen=True, slots=True)
class Row:
    """A question to all servers, and the lines that its figures make."""

    name: str
    measure: Measure
    lines: tuple[Line, ...]
    prepare: bool = False  # measure once unseen: the prompt shall be in the cache


def streams(count: int, prompt_tokens: int = serving.SHORT) -> Measure:
    """So many requests at a time, 32 tokens each: one alone and sixteen take seconds both."""
    load = serving.Load(count, prompt_tokens=prompt_tokens, max_tokens=32)
    return partial(serving.measure, load=load)


ROWS = (
    Row("decode_depth", decode_depth.measure, (
        Line("1 stream, decode after 600 tokens, tok/s", "tok/s", targets=(1.8, None)),
    ), prepare=True),
    Row("serving_1", streams(1), (
        Line("1 stream, 100-token prompt, tok/s", "tok/s"),
        Line("1 stream, time to first token, ms", "TTFT p50 ms", is_time=True),
    )),
    Row("serving_8", streams(8), (
        Line("8 streams, 100-token prompts, tok/s", "tok/s", targets=(1.4, 1.0)),
    )),
    Row("serving_16", streams(16), (Line("16 streams, 100-token prompts, tok/s", "tok/s"),)),
    Row("serving_8_long", streams(8, serving.LONG), (
        Line("8 streams, 600-token prompts, tok/s", "tok/s"),
    )),
    Row("shared_prefix", shared_prefix.measure, (
        Line("16 requests share 600 tokens, s in all", "wall s", True, (5.0, None)),
        Line("16 requests share 600 tokens, TTFT p50, ms", "TTFT p50 ms", True, (5.0, None)),
    )),
    Row("interference", interference.measure, (
        Line("2,000-token prompt beside 4 streams, gap p95, ms", "gap p95 ms", True, (4.0, None)),
        Line("the same, gap p99, ms", "gap p99 ms", True),
        Line("the newcomer's first token, ms", "newcomer TTFT ms", True),
    )),
    Row("neighbour", neighbour.measure, (
        Line("1 stream beside a busy process, tok/s", "tok/s busy", targets=(15.0, None)),
    )),
    Row("conversation", conversation.measure, (
        Line("conversation of 20 turns, TTFT p50, ms", "TTFT p50 ms", True),
    )),
)  # fmt: skip


def better(line: Line, ours: Sequence[float], theirs: Sequence[float]) -> Comparison:
    """How many times better ours is."""
    first, second = (theirs, ours) if line.is_time else (ours, theirs)
    return Comparison(tuple(first), tuple(second))


def render(
    text: str,
    ours: Sequence[float],
    theirs: Sequence[Sequence[float]],
    ratios: Sequence[Comparison],
    targets: Sequence[float | None],
) -> dict[str, Any]:
    """One line of the table, against both rivals."""
    wanted = [target for target in targets if target is not None]
    reached = [
        ratio.ratio >= target
        for ratio, target in zip(ratios, targets, strict=True)
        if target is not None
    ]
    return {
        "row": text,
        "ours": median(ours),
        "its defaults": median(theirs[0]),
        "ratio": ratios[0].ratio,
        "range": ratios[0].spread,
        "its best flags": median(theirs[1]),
        "ratio to best": ratios[1].ratio,
        "range to best": ratios[1].spread,
        "target": " / ".join(f">= {target:g}" for target in wanted) or "-",
        "met": verdict(reached),
        "pairs": len(ours),
    }


def own(text: str, comparison: Comparison, target: float | None) -> dict[str, Any]:
    """One line about ours against something that is not one of the two rivals."""
    line = told(text, ours=median(comparison.a), theirs=NOTHING, ratio=comparison.ratio)
    return line | {
        "range": comparison.spread,
        "target": "-" if target is None else f">= {target:g}",
        "met": verdict([] if target is None else [comparison.ratio >= target]),
        "pairs": len(comparison.a),
    }


def told(
    text: str,
    *,
    ours: float,
    theirs: float = NOTHING,
    ratio: float | None = None,
    at_most: float | None = None,
) -> dict[str, Any]:
    """One line out of another benchmark's figures; its ratio is ours over theirs.

    ``at_most`` bounds the ratio, or where there is none our figure itself.
    """
    bounded = ours if ratio is None else ratio
    return {
        "row": text,
        "ours": ours,
        "its defaults": theirs,
        "ratio": NOTHING if ratio is None else ratio,
        "range": "-",
        "its best flags": NOTHING,
        "ratio to best": NOTHING,
        "range to best": "-",
        "target": "-" if at_most is None else f"<= {at_most:g}",
        "met": verdict([] if at_most is None else [bounded <= at_most]),
        "pairs": 1,
    }


def verdict(reached: Sequence[bool]) -> str:
    """Say whether all targets are reached; nothing where there is none."""
    return ("yes" if all(reached) else "no") if reached else "-"


def drawn(lines: Sequence[dict[str, Any]]) -> str:
    """The ratios as bars."""
    series = {
        "to its defaults (or to what the row says)": [line["ratio"] for line in lines],
        "to its best flags": [line["ratio to best"] for line in lines],
    }
    names = [line["row"] for line in lines]
    title = "ours against llama-server: how many times better"
    return plot.bars(title, names, series, y_label="ratio", mark=1.0)
