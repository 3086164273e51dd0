"""Pieces joined: nothing is lost, and every channel keeps its order."""

from __future__ import annotations

from runner.wire.messages import CallDelta, Piece, TokenLogprob
from runner.wire.pieces import join


def test_one_piece_stays_as_it_is() -> None:
    piece = Piece(1, "a", 1)
    assert join([piece]) is piece


def test_every_channel_is_joined_by_itself() -> None:
    one, two = (TokenLogprob(token, b"x", -1.0) for token in (1, 2))
    joined = join(
        [
            Piece(1, "", 2, (one,), "I th"),
            Piece(1, "So", 1, (two,), "ink."),
            Piece(1, ":", 1, (), "", (CallDelta(0, "", "call_a", "weather"),)),
        ]
    )
    calls = (CallDelta(0, "", "call_a", "weather"),)
    assert joined == Piece(1, "So:", 4, (one, two), "I think.", calls)


def test_arguments_are_joined_call_by_call() -> None:
    joined = join(
        [
            Piece(1, "", 1, calls=(CallDelta(0, '{"city"', "call_a", "weather"),)),
            Piece(1, "", 1, calls=(CallDelta(0, ":1}"), CallDelta(1, "", "call_b", "time"))),
            Piece(1, "", 1, calls=(CallDelta(1, "{}"),)),
        ]
    )
    assert joined.calls == (
        CallDelta(0, '{"city":1}', "call_a", "weather"),
        CallDelta(1, "{}", "call_b", "time"),
    )
