"""What a transfer looks like, at times that the test chooses."""

from __future__ import annotations

from typing import Any

import pytest

from runner.cli.board import Board, Rate, render_span

MB = 1_000_000
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def event(id: str, current: int, size: int = 10 * MB, **layer: Any) -> dict[str, Any]:
    shown = {"id": id, "size": size, "current": current, **layer}
    return {"type": "progress", "total": 20 * MB, "layer": shown, "mode": "pull"}


def lines(board: Board, now_s: float, *, columns: int = 100, rows: int = 24) -> list[str]:
    return board.render(now_s, columns=columns, rows=rows)


def test_while_nothing_is_known_the_wait_is_told() -> None:
    board = Board("Looking for ai/x", began_s=100.0)
    board.take({"type": "progress", "message": "note", "layer": {"size": 0}}, 101.0)
    assert lines(board, 103.0) == ["Looking for ai/x … 3 s"]
    assert board.line() == ""


def test_each_layer_has_a_bar_with_speed_and_time_to_go() -> None:
    board = Board("", began_s=0.0)
    board.take(event(A, 0), 0.0)
    board.take(event(B, 0), 0.0)
    board.take(event(A, 5 * MB), 1.0)
    assert lines(board, 1.0, columns=90) == [
        "aaaaaaaaaaaa  Downloading     [==============>             ]"
        "  5.00MB/10.00MB  5.00MB/s  1s",
        "bbbbbbbbbbbb  Waiting         [>                           ]  0.00B/10.00MB",
        "Total         25%             5.00MB/20.00MB  5.00MB/s  3s",
    ]
    assert "[==" in lines(board, 1.0, columns=79)[0]
    assert board.line() == "Downloaded 5.00MB of 20.00MB"


def test_what_was_there_and_what_came_before_is_told() -> None:
    board = Board("", began_s=0.0)
    board.take(event(A, 6 * MB, resumed=5 * MB), 0.0)
    board.take(event(B, 10 * MB, present=True), 0.0)
    assert lines(board, 0.0, columns=70) == [
        "aaaaaaaaaaaa  Downloading     6.00MB/10.00MB  (5.00MB from before)",
        "bbbbbbbbbbbb  Already exists  10.00MB",
    ]


@pytest.mark.parametrize(("mode", "word"), [("pull", "Pull complete"), ("push", "Push complete")])
def test_a_layer_that_is_there_is_complete(mode: str, word: str) -> None:
    board = Board("", began_s=0.0)
    board.take(event(A, 10 * MB) | {"mode": mode}, 0.0)
    assert lines(board, 0.0) == [f"aaaaaaaaaaaa  {word}   10.00MB"]


def test_a_small_screen_shows_what_moves() -> None:
    board = Board("", began_s=0.0)
    for id, current in ((A, 10 * MB), (B, 10 * MB), (C, 1 * MB)):
        board.take(event(id, current), 0.0)
    shown = lines(board, 0.0, columns=40, rows=3)
    assert [line[:12] for line in shown] == ["cccccccccccc", "aaaaaaaaaaaa", "Total       "]
    assert max(map(len, shown)) <= 40


def test_an_id_cannot_steer_the_terminal() -> None:
    board = Board("", began_s=0.0)
    board.take(event("\x1b[2Jx", 1, size=0), 0.0)
    assert "\x1b" not in lines(board, 0.0)[0]


def test_a_rate_falls_while_nothing_comes_and_forgets() -> None:
    rate = Rate()
    assert rate.per_s(0.0) == 0
    rate.add(0.0, 0)
    rate.add(0.1, MB)
    assert rate.per_s(0.1) == 0  # too early to tell
    rate.add(1.0, 4 * MB)
    assert rate.per_s(1.0) == 4 * MB
    assert rate.per_s(2.0) == 2 * MB
    assert rate.per_s(60.0) == 0
    rate.add(60.0, MB)  # the part was wrong and comes again
    rate.add(61.0, 2 * MB)
    assert rate.per_s(61.0) == MB


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0s"), (59.4, "59s"), (59.6, "1m00s"), (125, "2m05s"), (3600 * 3 + 600, "3h10m")],
)
def test_spans(seconds: float, text: str) -> None:
    assert render_span(seconds) == text


def test_nothing_is_said_to_be_downloaded_that_was_there() -> None:
    board = Board("", began_s=0.0)
    board.take(event(A, 10 * MB, present=True), 0.0)
    board.take(event(B, 10 * MB, present=True), 0.0)
    assert board.line() == ""
    board.take(event(C, 0), 0.0)
    assert board.line() == "Downloaded 20.00MB of 20.00MB"
