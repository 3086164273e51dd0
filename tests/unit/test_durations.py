"""Time spans: what people and Go programs write, and what is refused."""

from __future__ import annotations

import pytest

from runner.durations import FOREVER, parse_duration, parse_keep_alive, render_keep_alive


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("1.5s", 1.5),
        ("300ms", 0.3),
        ("5m", 300),
        ("5m0s", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_keep_alive(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5x", "-5", "-1", "1m30", "1e3", "5 m", "٣s", "inf"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="a time such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["-1", "-5m", "-1h30m", "-0.5", "9223372037s", "999999999h", "9" * 400]
)
def test_a_negative_keep_alive_is_for_ever_and_one_that_no_date_ends(text: str) -> None:
    assert parse_keep_alive(text) == FOREVER


def test_a_keep_alive_of_minus_nothing_is_nothing() -> None:
    assert parse_keep_alive("-0s") == 0


@pytest.mark.parametrize("text", ["", "-", "--1", "for ever", "5 m"])
def test_what_is_no_keep_alive(text: str) -> None:
    with pytest.raises(ValueError, match="or -1 for ever"):
        parse_keep_alive(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (FOREVER, "-1"),
        (0.0, "0s"),
        (59.9, "59.9s"),
        (300.0, "5m0s"),
        (3661.0, "1h1m1s"),
        (86400.0, "24h0m0s"),
    ],
)
def test_time_spans_are_written_as_go_does(seconds: float, text: str) -> None:
    assert render_keep_alive(seconds) == text
