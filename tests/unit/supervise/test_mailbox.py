from __future__ import annotations

import pytest

from runner.supervise.mailbox import Mailbox
from runner.wire.messages import Begun, Event, Failed, Piece, TokenLogprob

BEGUN = Begun(1, 4, 0)
LAST = Failed(1, "cancelled", "cancelled")
A = TokenLogprob(65, b"A", -0.1)
B = TokenLogprob(66, b"B", -0.2)


def put_all(*events: Event) -> Mailbox:
    mailbox = Mailbox()
    for event in events:
        mailbox.put(event)
    return mailbox


def test_what_is_taken_in_time_comes_as_it_was() -> None:
    mailbox = Mailbox()
    for event in (BEGUN, Piece(1, "a", 1), Piece(1, "b", 1), LAST):
        mailbox.put(event)
        assert mailbox.take() == event
        assert mailbox.take() is None


def test_pieces_that_wait_become_one_with_texts_tokens_and_logprobs_joined() -> None:
    mailbox = put_all(
        BEGUN, Piece(1, "A", 1, (A,)), Piece(1, "", 1), Piece(1, "B\n", 2, (B,)), LAST
    )
    assert mailbox.take() == BEGUN
    assert mailbox.take() == Piece(1, "AB\n", 4, (A, B))
    assert mailbox.take() == LAST
    assert mailbox.take() is None


def test_a_failure_before_anything_else_is_all_there_is() -> None:
    mailbox = put_all(LAST)
    assert mailbox.take() == LAST
    assert mailbox.take() is None


def test_nothing_follows_the_last_event() -> None:
    with pytest.raises(AssertionError):
        put_all(LAST, Piece(1, "late", 1))
