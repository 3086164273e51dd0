from __future__ import annotations

import pytest

from runner.supervise.lines import LineLimits, LineLog, printable


def test_lines_may_arrive_in_any_pieces_and_empty_ones_are_left_out() -> None:
    logged: list[str] = []
    lines = LineLog(logged.append)
    for piece in (b"lo", b"ad\n\n", b"ready\nha", b"lf"):
        lines.feed(piece, now_s=0)
    assert logged == ["load", "ready"]
    lines.finish()
    assert logged == ["load", "ready", "half"]


def test_a_line_without_end_is_cut() -> None:
    logged: list[str] = []
    lines = LineLog(logged.append, limits=LineLimits(line_bytes=4))
    for _ in range(100):
        lines.feed(b"xxxx", now_s=0)
    lines.feed(b"\n", now_s=0)
    assert logged == ["xxxx"]


def test_over_the_rate_lines_are_dropped_the_gap_told_and_the_tail_kept() -> None:
    logged: list[str] = []
    limits = LineLimits(burst_bytes=20, rate_bytes_s=10, tail_lines=2)
    lines = LineLog(logged.append, limits=limits, now_s=0)
    lines.feed(b"first\n", now_s=0)
    lines.feed(b"flood one\nflood two\n", now_s=0)  # 20 bytes with 14 left
    assert logged == ["first"]
    assert lines.tail == ("flood one", "flood two")
    lines.feed(b"later\n", now_s=1)
    assert logged == ["first", "(20 bytes of output dropped: over the rate limit)", "later"]
    assert lines.tail == ("flood two", "later")


def test_of_a_flood_in_one_piece_the_tail_is_its_last_lines() -> None:
    lines = LineLog(lambda line: None, limits=LineLimits(burst_bytes=1, tail_lines=2))
    lines.feed(b"begun ", now_s=0)
    lines.feed(b"".join(b"line %d\n" % number for number in range(1000)) + b"half", now_s=0)
    assert lines.tail == ("line 999", "half")
    lines.feed(b" done\n\n", now_s=0)
    assert lines.tail == ("line 999", "half done")


def test_a_gap_at_the_end_is_told() -> None:
    logged: list[str] = []
    lines = LineLog(logged.append, limits=LineLimits(burst_bytes=1))
    lines.feed(b"too much\n", now_s=0)
    lines.finish()
    assert logged == ["(9 bytes of output dropped: over the rate limit)"]


def test_the_tail_has_the_last_lines_and_the_unfinished_one() -> None:
    lines = LineLog(lambda line: None, limits=LineLimits(tail_lines=2))
    lines.feed(b"one\ntwo\nthree\nfou", now_s=0)
    assert lines.tail == ("three", "fou")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"plain \r", "plain"),
        ("Grüße 🦙".encode(), "Grüße 🦙"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        ("bidi \u202e".encode(), "bidi \\u202e"),
        (b"a\rb", "a\\rb"),
        (b"\xff", "\ufffd"),
    ],
)
def test_what_would_steer_a_terminal_is_escaped(line: bytes, text: str) -> None:
    assert printable(line) == text
