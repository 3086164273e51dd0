"""Prompts of which parts are no tokens: rows of images and sounds."""

from __future__ import annotations

import pytest

from runner.engine.backend import Plan, Span
from runner.engine.limits import Policy

from .driver import Driver, capacity, tokens

IMAGE = tuple(range(-100, -140, -1))  # names of 40 rows


def prompt(seed: int = 0, image: tuple[int, ...] = IMAGE) -> tuple[int, ...]:
    return (*tokens(10, seed=seed), *image, *tokens(6, seed=seed + 50))


def spans(*, is_whole: bool) -> tuple[Span, ...]:
    return (Span(10, 20, is_whole), Span(30, 20, is_whole))


def parts(plans: list[Plan], slot: int) -> list[tuple[int, int, Span | None]]:
    """What a slot got, step by step."""
    cut = [part for plan in plans for part in plan.prefill if part.slot == slot]
    return [(part.start, len(part.tokens), part.span) for part in cut]


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_step_has_rows_of_one_kind_of_a_prompt(is_whole: bool) -> None:
    engine = Driver(capacity())
    first, second = spans(is_whole=is_whole)
    engine.submit(1, prompt(), spans=(first, second))
    cut = parts(engine.run(), 0)
    assert cut == [(0, 10, None), (10, 20, first), (30, 20, second), (50, 6, None)]


def test_rows_that_look_at_one_another_are_never_parted() -> None:
    for is_whole in (True, False):
        engine = Driver(capacity(), Policy(target_gap_s=0.01))
        engine.submit(1, tokens(5, seed=7), max_tokens=60)
        for _ in range(20):
            engine.step()
        engine.submit(2, prompt(), spans=spans(is_whole=is_whole))
        plans = engine.run()
        cut = [
            len(part.tokens)
            for plan in plans
            for part in plan.prefill
            if part.span is not None and part.slot != 0
        ]
        assert sum(cut) == 40
        assert (cut == [20, 20]) == is_whole, cut


def test_an_image_is_shared_as_text_is() -> None:
    engine = Driver(capacity())
    engine.submit(1, prompt(), spans=spans(is_whole=True))
    engine.run()
    engine.submit(2, (*prompt()[:50], *tokens(9, seed=80)), spans=spans(is_whole=True))
    plans = engine.run()
    assert engine.begun(2).cached_tokens == 50
    assert [part.start for plan in plans for part in plan.prefill] == [50]
    other = tuple(name - 1000 for name in IMAGE)
    engine.submit(3, prompt(image=other), spans=spans(is_whole=True))
    engine.run()
    assert engine.begun(3).cached_tokens == 10


def test_a_preempted_prompt_gets_its_rows_again() -> None:
    limits = capacity(context_size=128, cells=140)
    engine = Driver(limits)
    engine.submit(1, tokens(30, seed=3), max_tokens=90)
    engine.submit(2, prompt(), spans=spans(is_whole=True), max_tokens=30)
    engine.run()
    assert engine.ended(1).completion_tokens == 90
    assert engine.ended(2).completion_tokens == 30
