from __future__ import annotations

import pytest

from runner.oci.retry import Patience, parse_retry_after

NOW_S = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


def test_delays_double_up_to_a_bound_and_then_end() -> None:
    patience = Patience(attempts=8)
    delays = [patience.delay_s(attempt, dice=0.0) for attempt in range(1, 9)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, None]


def test_the_dice_take_up_to_half_of_a_delay_away() -> None:
    assert Patience().delay_s(2, dice=1.0) == 0.5


def test_a_servers_wish_is_honoured_up_to_a_bound() -> None:
    assert Patience().delay_s(1, dice=0.5, retry_after_s=90.0) == 90.0
    assert Patience().delay_s(1, dice=0.5, retry_after_s=121.0) is None
    assert Patience(attempts=1).delay_s(1, dice=0.5, retry_after_s=1.0) is None


def test_a_long_row_of_attempts_does_not_overflow() -> None:
    assert Patience(attempts=5000).delay_s(1000, dice=0.0) == 20.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 400, None),
        ("Sun, 99 Nov 1994 08:50:37 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, now_s=NOW_S) == seconds
