"""The index of saved texts: what is found, what is the same, what gives way."""

from __future__ import annotations

import pytest

from runner.engine.prefix import NO_MATCH, Match
from runner.engine.shelf import CopyPace, Shelf

A = list(range(100, 120))
B = list(range(200, 220))


def shelf(limit_bytes: int = 1000, *, can_trim: bool = True) -> Shelf:
    return Shelf(limit_bytes, size_bytes=lambda length: 10 + 2 * length, can_trim=can_trim)


def add(shelf: Shelf, tokens: list[int]) -> tuple[int, list[int]]:
    added = shelf.add(tokens)
    shelf.check()
    return added.key, added.dropped


def test_an_empty_shelf_finds_nothing() -> None:
    assert shelf().find(A, 20) == NO_MATCH


def test_the_longest_prefix_is_found_within_the_limit() -> None:
    texts = shelf()
    add(texts, [*A[:5], 1, 2])
    add(texts, A)
    add(texts, B)
    assert texts.find([*A[:9], 7, 7], 11) == Match(9, None, 1)
    assert texts.find(A, 12) == Match(12, None, 1)
    assert texts.find([5, 6], 2) == NO_MATCH


def test_a_text_takes_its_state_and_its_tokens() -> None:
    texts = shelf()
    add(texts, A)
    add(texts, B[:4])
    assert (len(texts), texts.bytes) == (2, 10 + 40 + 10 + 8)


def test_a_text_makes_its_own_beginnings_useless() -> None:
    texts = shelf()
    add(texts, A[:8])
    add(texts, B)
    assert add(texts, A) == (2, [0])
    assert texts.find(A, 20) == Match(20, None, 2)


def test_what_cannot_be_cut_keeps_its_beginnings_and_serves_whole() -> None:
    texts = shelf(can_trim=False)
    add(texts, A[:8])
    assert add(texts, A) == (1, [])
    assert texts.find(A, 19) == Match(8, None, 0)
    assert texts.find([*A, 1], 21) == Match(20, None, 1)


def test_the_text_used_longest_ago_gives_way() -> None:
    texts = shelf(120)
    for first in (1, 2):
        add(texts, [first, *A])
    texts.touch(0)
    assert add(texts, [3, *A]) == (2, [1])


def test_what_is_about_to_be_restored_gives_way_to_nothing() -> None:
    texts = shelf(120)
    for first in (1, 2):
        add(texts, [first, *A])
    texts.pinned = 0
    assert add(texts, [3, *A]) == (2, [1])
    assert not texts.fits(60)
    texts.pinned = None
    assert texts.fits(55)
    assert not texts.fits(56)


def test_a_removed_text_is_gone_and_may_be_removed_again() -> None:
    texts = shelf()
    key, _ = add(texts, A)
    texts.remove(key)
    texts.remove(key)
    texts.check()
    assert (texts.find(A, 20), texts.bytes) == (NO_MATCH, 0)


def test_the_pace_of_copies_is_learned() -> None:
    pace = CopyPace()
    assert pace.seconds(10**9) == 1.0
    pace.observe(1000, 5.0)  # too few bytes to tell of a rate
    assert pace.seconds(10**9) == 1.0
    for _ in range(40):
        pace.observe(10**8, 0.5)
    assert pace.seconds(10**8) == pytest.approx(0.5, rel=0.01)


def test_a_text_saved_in_passing_gives_way_to_the_next_unless_it_was_of_use() -> None:
    texts = shelf(can_trim=False)
    first = texts.add(A[:5], is_passing=True)
    assert texts.add(B, is_passing=True).dropped == []
    assert texts.add(A[:6]).dropped == []
    second = texts.add(A[:8], is_passing=True)
    assert second.dropped == [first.key]
    texts.touch(second.key)
    assert texts.add(A, is_passing=True).dropped == []
    texts.check()


def test_what_some_text_begins_with_is_known_even_if_it_cannot_serve() -> None:
    texts = shelf(can_trim=False)
    add(texts, A)
    assert texts.find([*A[:9], 7], 10) == NO_MATCH
    assert texts.common([*A[:9], 7], 10) == 9
