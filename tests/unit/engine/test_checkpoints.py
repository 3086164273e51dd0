"""Where prompts pause to be saved, and that those who come later begin there."""

from __future__ import annotations

import pytest

from runner.engine.backend import Copy, MemoryOp, Plan, Restore, Save
from runner.engine.checkpoints import choose_stride, place_marks
from runner.engine.limits import Policy
from tests.unit.engine.driver import Driver, alone, capacity, tokens


@pytest.mark.parametrize(
    ("start", "end", "parting", "stride", "marks"),
    [
        (0, 600, 0, 1024, [592]),  # before the end
        (0, 600, 0, 256, [256, 512, 592]),
        (0, 600, 300, 256, [300, 512, 592]),  # where it parts from another, not just before that
        (0, 600, 580, 256, [256, 512, 580]),
        (0, 600, 600, 256, [256, 512, 592]),  # all of it is known
        (512, 600, 560, 256, [592]),  # too near to what is there
        (560, 600, 0, 256, []),
        (0, 72, 0, 512, [64]),
        (0, 71, 0, 512, []),
        (0, 5, 0, 512, []),
    ],
)
def test_places_worth_a_pause(
    start: int, end: int, parting: int, stride: int, marks: list[int]
) -> None:
    assert place_marks(start, end, parting=parting, stride=stride, least=64) == marks


@pytest.mark.parametrize(
    ("length", "size_bytes", "copy_s", "stride"),
    [
        (4000, 10, 0.001, 512),
        (4000, 10, 0.033, 1024),  # a sixteenth of 512 rows is 0.032 s
        (4000, 10, 0.2, 4000),
        (4000, 36, 0.001, 512),  # seven states in a quarter of the room
        (4000, 37, 0.001, 1024),
        (4000, 1000, 0.001, 4000),
        (300, 1000, 1.0, 512),
    ],
)
def test_states_are_saved_as_often_as_time_and_room_allow(
    length: int, size_bytes: int, copy_s: float, stride: int
) -> None:
    got = choose_stride(
        length, least=512, size_bytes=size_bytes, room_bytes=1024, copy_s=copy_s, row_s=0.001
    )
    assert got >= length if stride >= length else got == stride


def engine(**changes: object) -> Driver:
    """A memory that cannot be cut back, with room for saved texts at a byte a token."""
    values = {"slots": 4, "streams": True, "context_size": 1024, "can_trim": False}
    values |= {"can_guess": False, "prefix_bytes": 100_000, "token_bytes": 1, **changes}
    return Driver(capacity(**values), Policy(pause_min_tokens=32, stride_tokens=256))


def ask(driver: Driver, id: int, prompt: tuple[int, ...]) -> int:
    """Run a request to its end with the text it has alone; return its cached tokens."""
    driver.submit(id, prompt)
    driver.run()
    assert (driver.text(id), driver.ended(id).reason) == alone(prompt, context_size=1024)
    return driver.ended(id).cached_tokens


def operations(plans: list[Plan], kind: type[MemoryOp]) -> list[MemoryOp]:
    return [one for plan in plans for one in plan.memory if isinstance(one, kind)]


HEAD = tokens(400)


def with_tail(seed: int, length: int = 30) -> tuple[int, ...]:
    return HEAD + tokens(length, seed=seed)


def test_the_second_prompt_finds_a_stride_and_the_third_the_place_where_they_part() -> None:
    driver = engine()
    assert [ask(driver, id, with_tail(id)) for id in (1, 2, 3, 4)] == [0, 256, 400, 400]


def test_prompts_that_come_together_compute_their_beginning_once() -> None:
    driver = engine()
    for id in (1, 2, 3, 4):
        driver.submit(id, with_tail(id))
    plans = driver.run()
    assert sum(len(part.tokens) for plan in plans for part in plan.prefill) == 400 + 4 * 30
    for id in (1, 2, 3, 4):
        assert (driver.text(id), "length") == alone(with_tail(id), context_size=1024)
    assert [driver.ended(id).cached_tokens for id in (1, 2, 3, 4)] == [0, 400, 400, 400]
    assert len(operations(plans, Copy) + operations(plans, Restore)) == 3


def test_the_same_prompt_again_computes_its_end() -> None:
    driver = engine()
    assert [ask(driver, id, with_tail(7)) for id in (1, 2)] == [0, 422]


def test_a_conversation_whose_answers_are_rendered_in_another_way_begins_before_them() -> None:
    driver, prompt, cached = engine(), with_tail(1), []
    for turn in range(6):
        cached.append(ask(driver, turn, prompt))
        prompt = prompt[:-3] + tokens(40, seed=100 + turn)
    assert cached == [0, 422, 459, 496, 533, 570]


def test_a_state_in_passing_gives_way_to_the_next_of_its_text_but_for_one_a_stride() -> None:
    driver, prompt = engine(), tokens(100)
    for turn in range(11):
        ask(driver, turn, prompt)
        [held] = [text for slot, _, text in driver.scheduler.prefixes.kept() if slot is not None]
        prompt = (*held, *tokens(40, seed=100 + turn))
    lengths = [len(text) for slot, _, text in driver.scheduler.prefixes.kept() if slot is None]
    assert lengths == [562, 515, 280]


def test_without_room_nothing_is_saved_and_nobody_pauses() -> None:
    driver = engine(prefix_bytes=0)
    driver.submit(1, with_tail(1))
    plans = driver.run()
    assert operations(plans, Save) == []
    assert [len(p.tokens) for plan in plans for p in plan.prefill] == [96, 96, 96, 96, 46]


def test_one_that_keeps_apart_leaves_nothing_behind() -> None:
    driver = engine()
    driver.submit(1, with_tail(1), shares_prefix=False)
    assert operations(driver.run(), Save) == []
    assert ask(driver, 2, with_tail(2)) == 0


def test_a_text_that_cannot_be_restored_is_computed_and_the_request_goes_on() -> None:
    driver = engine(slots=1, parallel=1)
    ask(driver, 1, with_tail(1))
    ask(driver, 2, tokens(100, seed=9))
    driver.backend.refuses = frozenset({Restore})
    assert ask(driver, 3, with_tail(3)) == 0
    driver.backend.refuses = frozenset()
    assert ask(driver, 4, with_tail(4)) > 0
