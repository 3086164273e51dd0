"""Which slot a new sequence gets, and what becomes of the text that was in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner.engine.backend import (
    Copy,
    Drop,
    MemoryOp,
    Outcome,
    Restore,
    Save,
    StepResult,
    Trim,
)
from runner.engine.limits import Policy
from runner.engine.prefix import NO_MATCH, Match
from runner.engine.slots import Slots
from tests.unit.engine.driver import capacity

A = list(range(100, 140))


def unified(**changes: object) -> Slots:
    return Slots(capacity(**{"slots": 3, "parallel": 3, **changes}), Policy())


def streams(**changes: object) -> Slots:
    limits = capacity(**{"slots": 3, "parallel": 3, "streams": True, **changes})
    return Slots(limits, Policy(copy_min_tokens=16))


def leave(slots: Slots, text: list[int]) -> int:
    """Compute a text on its own, and leave it as a cached one; return its slot."""
    slot, *_ = slots.take(text, 0, NO_MATCH)
    slots.tree.trim(slot, 0)  # not hidden: it may be found
    slots.append(slot, tuple(text))
    slots.release(slot, keep=True)
    slots.take_operations()
    slots.check()
    return slot


def start(slots: Slots, text: list[int]) -> tuple[int, int, tuple[MemoryOp, ...]]:
    """Give a slot to a new sequence: slot, reused tokens, operations."""
    limit = len(text) - 1
    slot, kept, *_ = slots.take(text, limit, slots.find(text, limit))
    slots.check()
    return slot, kept, slots.take_operations()


def test_the_first_sequence_gets_an_empty_slot_and_no_operation() -> None:
    assert start(unified(), A) == (0, 0, ())


def test_a_text_that_is_wholly_a_prefix_is_continued_in_place() -> None:
    for slots in (unified(), streams()):
        leave(slots, A)
        assert start(slots, [*A, 1, 2]) == (0, 40, ())


def test_a_unified_prefix_is_shared_into_a_free_slot() -> None:
    slots = unified()
    leave(slots, A)
    assert start(slots, [*A[:5], 1, 2]) == (1, 5, (Copy(0, 1, 5),))
    assert (slots.held, slots.tree.cells) == (1, 40)


def test_a_stream_is_copied_only_where_that_saves_much() -> None:
    slots = streams()
    leave(slots, A)
    assert start(slots, [*A[:20], 1, 2]) == (1, 20, (Copy(0, 1, 20),))
    assert slots.tree.cells == 60
    assert start(slots, [*A[:8], 1, 2]) == (2, 0, ())


def test_a_stream_of_which_most_is_used_is_taken_over() -> None:
    slots = streams()
    leave(slots, A)
    assert start(slots, [*A[:35], 1, 2]) == (0, 35, (Trim(0, 35),))


def test_a_short_stream_is_taken_over_for_half_of_it() -> None:
    slots = streams()
    leave(slots, A[:12])
    assert start(slots, [*A[:6], 1, 2]) == (0, 6, (Trim(0, 6),))
    slots = streams()
    leave(slots, A[:12])
    assert start(slots, [*A[:5], 1, 2]) == (1, 0, ())


def test_without_a_free_slot_the_text_used_longest_ago_gives_way() -> None:
    slots = unified()
    for at in range(3):
        leave(slots, [at, *A])
    assert start(slots, [9, 9]) == (0, 0, (Trim(0, 0),))


@pytest.mark.parametrize(("make", "slot"), [(streams, 1), (unified, 0)])
def test_streams_are_put_beside_each_other(make: Callable[..., Slots], slot: int) -> None:
    slots = make(slots=4, parallel=4)
    assert [start(slots, [at, *A])[0] for at in range(3)] == [0, 1, 2]
    slots.release(1, keep=False)
    slots.release(0, keep=False)
    assert start(slots, [9, *A])[0] == slot  # one pass computes streams 1 and 2, not 0 and 2


def test_of_the_older_texts_one_beside_a_running_stream_gives_way() -> None:
    slots = streams(slots=4, parallel=4)
    for at in (3, 2, 1, 0):
        leave(slots, [at] * 40)
    assert start(slots, [0] * 44)[0] == 3
    assert start(slots, [9] * 40)[0] == 0  # of 0 and 1, used before 2
    slots.append(0, (9,) * 40)
    slots.release(0, keep=True)
    assert start(slots, [8] * 40)[0] == 2


def test_a_text_that_was_shared_is_the_last_to_give_way() -> None:
    slots = unified(parallel=2)
    for at in range(3):
        leave(slots, [at, *A])
    assert start(slots, [0, *A[:9], 1]) == (1, 10, (Trim(1, 0), Copy(0, 1, 10)))
    slots.release(1, keep=False)
    assert [slots.evict() for _ in range(3)] == [True, True, False]
    assert slots.take_operations()[-1] == Trim(0, 0)


def test_the_only_text_left_is_trimmed_to_what_is_shared() -> None:
    slots = unified(slots=1, parallel=1)
    leave(slots, A)
    assert start(slots, [*A[:5], 1, 2]) == (0, 5, (Trim(0, 5),))


def test_a_stream_that_gives_way_keeps_what_it_has_in_common() -> None:
    slots = streams(slots=1, parallel=1)
    leave(slots, A)
    assert start(slots, [*A[:5], 1, 2]) == (0, 5, (Trim(0, 5),))


def test_a_memory_that_cannot_trim_continues_whole_texts_only() -> None:
    slots = streams(slots=2, parallel=2, can_trim=False)
    leave(slots, A)
    assert slots.find([*A[:20], 1], 20) == NO_MATCH
    assert slots.find(A, 39) == NO_MATCH
    assert start(slots, [*A, 1]) == (0, 40, ())
    slots.release(0, keep=True)
    assert start(slots, [*A[:20], 1, 2]) == (1, 0, ())
    assert start(slots, [*A[:20], 1, 2]) == (0, 0, (Trim(0, 0),))


def test_released_slots_without_a_text_are_free() -> None:
    slots = unified()
    slot, *_ = slots.take(A, 0, NO_MATCH)
    slots.release(slot, keep=True)
    assert slots.held == 0
    slots.check()


def test_room_is_made_by_forgetting_and_counted_honestly() -> None:
    slots = unified(context_size=50, cells=100)
    leave(slots, A)
    leave(slots, [7, *A])
    assert slots.room(19) == 19
    assert slots.held == 2
    assert slots.room(20) == 20
    assert slots.held == 1
    assert slots.room(500) == 100
    assert slots.take_operations() == (Trim(0, 0), Trim(1, 0))


def test_a_prompt_fits_when_all_but_the_running_can_make_room() -> None:
    slots = unified(context_size=50, cells=100)
    leave(slots, A)
    slot, _, _ = start(slots, [7, 7])
    slots.append(slot, (7,) * 30)
    assert slots.fits(NO_MATCH, 70)
    assert not slots.fits(NO_MATCH, 71)
    assert slots.fits(Match(20, 0), 50)
    assert not slots.fits(Match(20, 0), 51)


def test_streams_have_room_of_their_own() -> None:
    slots = streams()
    assert slots.room(10_000) == 10_000
    assert slots.fits(NO_MATCH, 10_000)


@pytest.mark.parametrize(
    "changes",
    [
        {"parallel": 0},
        {"parallel": 9},
        {"batch_size": 3},
        {"context_size": 1},
        {"cells": 255},
        {"streams": True, "cells": 8 * 256 - 1},
    ],
)
def test_numbers_that_cannot_be_true_together_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"parallel|context_size"):
        capacity(**changes)


def shelved(**changes: object) -> Slots:
    """One slot, beside which texts can be saved at a byte a token."""
    values = {"slots": 1, "parallel": 1, "prefix_bytes": 1000, "token_bytes": 1, **changes}
    slots = streams(**values)
    slots.prepare(1.0, row_s=0.001)
    return slots


def test_a_text_whose_slot_is_needed_is_saved_and_comes_back() -> None:
    slots = shelved()
    leave(slots, A)
    assert start(slots, [9, 9]) == (0, 0, (Save(0, 0, tuple(A)), Trim(0, 0)))
    slots.release(0, keep=False)
    slots.take_operations()
    assert start(slots, [*A, 1]) == (0, 40, (Restore(0, 0, 40), Drop(0)))
    assert (len(slots.shelf), slots.shelf.bytes) == (0, 0)


def test_a_saved_text_of_which_a_part_is_used_stays_saved() -> None:
    slots = shelved()
    leave(slots, A)
    start(slots, [9, 9])
    slots.release(0, keep=False)
    slots.take_operations()
    assert start(slots, [*A[:30], 1]) == (0, 30, (Restore(0, 0, 30),))
    assert slots.shelf.bytes == 40


def test_a_text_that_comes_back_pushes_another_one_out() -> None:
    slots = shelved(prefix_bytes=100)
    leave(slots, A)
    leave(slots, [1, *A])
    assert start(slots, [*A, 1]) == (
        0,
        40,
        (Save(0, 1, (1, *A)), Trim(0, 0), Restore(0, 0, 40), Drop(0)),
    )


def test_a_short_text_is_not_saved() -> None:
    slots = shelved()
    leave(slots, A[:31])
    assert start(slots, [9, 9]) == (0, 0, (Trim(0, 0),))


def test_a_text_that_is_held_elsewhere_but_for_its_end_is_not_saved() -> None:
    slots = shelved(slots=2, parallel=2)
    long = list(range(1000, 1240))
    leave(slots, long)
    slots._held.clear()
    slots._busy.add(0)
    leave(slots, [*long[:210], *A[:30]])
    assert start(slots, [9, 9]) == (1, 0, (Trim(1, 0),))


def test_a_text_that_is_cheaper_to_compute_than_to_copy_twice_is_not_saved() -> None:
    slots = shelved()
    leave(slots, A)
    slots.prepare(1.0, row_s=1.9e-9)
    assert start(slots, [9, 9]) == (0, 0, (Trim(0, 0),))


def test_copies_take_no_longer_in_all_than_streams_are_patient() -> None:
    slots = shelved(token_bytes=10**6, prefix_bytes=10**9)
    leave(slots, A)
    slots.prepare(0.039, row_s=1.0)
    assert start(slots, [9, 9]) == (0, 0, (Trim(0, 0),))
    slots.release(0, keep=False)
    leave(slots, A)
    slots.prepare(0.079, row_s=1.0)
    assert start(slots, [9, 9]) == (0, 0, (Save(0, 0, tuple(A)), Trim(0, 0)))
    slots.release(0, keep=False)
    assert start(slots, [*A, 1]) == (0, 0, ())
    slots.release(0, keep=False)
    slots.prepare(0.041, row_s=1.0)
    assert start(slots, [*A, 1]) == (0, 40, (Restore(0, 0, 40), Drop(0)))


def test_cells_are_made_free_before_a_text_comes_back() -> None:
    slots = unified(slots=3, parallel=1, context_size=50, cells=60, batch_size=60,
                    prefix_bytes=1000, token_bytes=1)  # fmt: skip
    slots.prepare(1.0, row_s=0.001)
    leave(slots, A)
    slots.evict()
    leave(slots, [1, *A])
    slots.take_operations()
    assert start(slots, [*A, 1])[2] == (
        Save(0, 1, (1, *A)),
        Trim(0, 0),
        Restore(0, 1, 40),
        Drop(0),
    )


def test_what_was_not_saved_is_not_looked_for() -> None:
    slots = shelved()
    leave(slots, A)
    _, _, operations = start(slots, [9, 9])
    slots.confirm(operations, StepResult(Outcome.OK, (), 0.1))
    assert len(slots.shelf) == 0
    assert slots.take_operations() == (Drop(0),)


def test_a_text_that_could_not_be_restored_is_forgotten() -> None:
    slots = shelved()
    leave(slots, A)
    start(slots, [9, 9])
    slots.release(0, keep=False)
    slots.take_operations()
    _, _, operations = start(slots, [*A[:30], 1])
    slots.confirm(operations, StepResult(Outcome.FAILED, (), 0.1))
    assert len(slots.shelf) == 0
    assert slots.take_operations() == (Drop(0),)


def test_a_text_from_an_earlier_life_is_like_one_of_this() -> None:
    slots = shelved()
    assert slots.stock(A) == 0
    assert slots.stock(A[:20]) is None
    assert start(slots, [*A, 1]) == (0, 40, (Restore(0, 0, 40), Drop(0)))
    assert shelved(prefix_bytes=39).stock(A) is None


def test_what_is_cached_is_listed_the_latest_first() -> None:
    slots = shelved(slots=2, parallel=2)
    for first in (1, 2, 3):
        leave(slots, [first, *A])
    assert [(slot, key, text[0]) for slot, key, text in slots.kept()] == [
        (0, None, 3),
        (1, None, 2),
        (None, 0, 1),
    ]


def test_what_the_backend_does_not_hold_yet_is_not_listed() -> None:
    slots = shelved()
    leave(slots, A)
    slots.evict()
    assert slots.kept() == []
    slots.take_operations()
    assert [key for _, key, _ in slots.kept()] == [0]


@pytest.mark.parametrize(("prefix_bytes", "slot"), [(1000, 1), (0, 3)])
def test_a_text_between_running_streams_gives_way_where_it_comes_back(
    prefix_bytes: int, slot: int
) -> None:
    slots = streams(slots=4, parallel=4, prefix_bytes=prefix_bytes, token_bytes=1)
    slots.prepare(1.0, row_s=0.001)
    for at in range(3):
        taken, _, _ = start(slots, [at, *A])
        slots.append(taken, (at, *A))
    slots.release(1, keep=True)
    chosen, _, operations = start(slots, [9, *A])
    assert chosen == slot
    assert any(isinstance(one, Save) for one in operations) is (slot == 1)
