"""Sequences with different adapters: no step and no prefix is shared, and all have their turn."""

from __future__ import annotations

from itertools import pairwise

import pytest

from runner.engine.backend import Adapters
from runner.engine.limits import Policy
from runner.engine.prefix import NO_MATCH, PrefixTree
from tests.unit.engine.driver import Driver, alone, capacity, tokens

HALF, WHOLE = (0.5,), (1.0,)


def test_each_text_is_that_of_its_adapters() -> None:
    driver = Driver(capacity(), Policy(turn_s=0.0))
    for id, adapters in enumerate((None, HALF, WHOLE, HALF)):
        driver.submit(id, tokens(40), adapters=adapters)
    driver.run()
    texts = [driver.text(id) for id in range(4)]
    assert texts == [
        alone(tokens(40), adapters=adapters)[0] for adapters in (None, HALF, WHOLE, HALF)
    ]
    assert len(set(texts)) == 3


@pytest.mark.parametrize("streams", [False, True])
def test_a_prefix_serves_its_own_adapters_only(streams: bool) -> None:
    driver = Driver(capacity(streams=streams, parallel=1))
    cached: list[int] = []
    asked: list[Adapters] = [HALF, None, WHOLE, HALF, None, WHOLE]
    for id, adapters in enumerate(asked):
        driver.submit(id, tokens(40), adapters=adapters)
        driver.run()
        cached.append(driver.begun(id).cached_tokens)
    assert cached == [0, 0, 0, 39, 39, 39]


def test_a_saved_prefix_serves_its_own_adapters_only() -> None:
    limits = capacity(slots=1, parallel=1, prefix_bytes=10_000, token_bytes=1)
    driver = Driver(limits)
    cached: list[int] = []
    for id, adapters in enumerate((HALF, None, HALF, None)):
        driver.submit(id, tokens(120), adapters=adapters)
        driver.run()
        cached.append(driver.begun(id).cached_tokens)
    assert cached == [0, 0, 119, 119]


def test_nobody_waits_for_a_prompt_with_other_adapters() -> None:
    driver = Driver(capacity(), Policy(turn_s=0.0))
    for id, adapters in enumerate((None, HALF)):
        driver.submit(id, tokens(100), adapters=adapters)
    driver.step()
    assert driver.scheduler.waiting == 0


def test_streams_have_turns_by_their_adapters() -> None:
    driver = Driver(capacity(), Policy(turn_s=0.02))
    for id, adapters in enumerate((None, None, HALF)):
        driver.submit(id, tokens(5, seed=id), adapters=adapters, max_tokens=60)
    plans = driver.run()
    turns = [plan.adapters for plan in plans]
    changes = sum(before != after for before, after in pairwise(turns))
    assert changes >= 10
    assert len(turns) / changes >= 2  # a change costs: a turn has several steps


def test_a_long_prompt_with_adapters_holds_streams_without_up_no_longer_than_others() -> None:
    policy = Policy(turn_s=0.0, target_gap_s=0.02)
    driver = Driver(capacity(context_size=2048, batch_size=512), policy)
    driver.submit(1, tokens(5), max_tokens=200)
    for _ in range(20):
        driver.step()
    driver.submit(2, tokens(1000, seed=1), adapters=HALF, max_tokens=1)
    rows = [plan.rows for plan in driver.run() if plan.adapters == HALF]
    assert sum(rows) == 1000
    assert max(rows) < 512


def test_who_has_no_cells_leaves_the_turn_to_others() -> None:
    limits = capacity(slots=2, parallel=2, cells=64, context_size=64)
    driver = Driver(limits, Policy(turn_s=10.0, headroom_tokens=1))
    driver.submit(1, tokens(30), max_tokens=30)
    driver.submit(2, tokens(30, seed=1), max_tokens=30, adapters=HALF)
    driver.run()
    assert [len(driver.text(id)) for id in (1, 2)] == [30, 30]


def test_a_model_as_it_is_loaded_keeps_the_turn_alone() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(5), max_tokens=20)
    assert {plan.adapters for plan in driver.run()} == {None}


def test_a_tree_forgets_adapters_that_nobody_has_any_more() -> None:
    tree = PrefixTree(2)
    tree.enter(0, HALF)
    tree.append(0, (1, 2, 3))
    assert tree.match([1, 2, 3], 3, HALF) == (3, 0, None)
    assert tree.match([1, 2, 3], 3) == NO_MATCH
    tree.share(0, 1, 2)
    tree.trim(0, 0)
    assert (tree.adapters(0), tree.adapters(1)) == (None, HALF)
    tree.trim(1, 0)
    assert tree.match([1, 2, 3], 3, HALF) == NO_MATCH
    assert len(tree._roots) == 1
    tree.check()
