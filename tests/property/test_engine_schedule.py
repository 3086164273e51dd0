"""Whatever arrives, leaves, overflows or breaks: every id ends once, with the text it has alone."""

from __future__ import annotations

import copy
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from runner.engine.backend import (
    Adapters,
    Copy,
    MemoryOp,
    Outcome,
    Plan,
    Prefill,
    Restore,
    Score,
    Trim,
)
from runner.engine.events import Begun, Ended, Failed
from runner.engine.fake import FakeBackend
from runner.engine.limits import Capacity, Policy
from runner.errors import Kind
from tests.unit.engine.driver import Driver, alone

CONTEXT = 48

# Prompts over few tokens share prefixes often, of every length.
heads = st.sampled_from([(), (1,) * 10, tuple(range(1, 31)), tuple(range(1, 21)) + (5,) * 10])
prompts = st.builds(
    lambda head, tail: head + tuple(tail),
    heads,
    st.lists(st.integers(1, 3), min_size=1, max_size=20),
)


@st.composite
def capacities(draw: st.DrawFn) -> Capacity:
    parallel = draw(st.integers(1, 4))
    slots = parallel + draw(st.integers(0, 3))
    shares = draw(st.booleans())
    cells = draw(st.integers(CONTEXT, 4 * CONTEXT)) if shares else CONTEXT * slots
    return Capacity(
        slots=slots,
        parallel=parallel,
        cells=cells,
        context_size=CONTEXT,
        batch_size=draw(st.sampled_from([parallel, 8, 40, 256])) if parallel < 5 else 40,
        shares_cells=shares,
        can_trim=draw(st.sampled_from([True, False])),
        can_guess=draw(st.booleans()),
        window_tokens=draw(st.sampled_from([0, 0, 12])),
        window_token_bytes=1,
        prefix_bytes=draw(st.sampled_from([0, 0, 300, 1000, 10_000])),
        state_bytes=draw(st.sampled_from([0, 100])),
        token_bytes=draw(st.sampled_from([1, 10])),
        score_rows=draw(st.sampled_from([1, 4, 50])),
    )


policies = st.builds(
    Policy,
    target_gap_s=st.sampled_from([0.0, 0.02, 0.1]),
    max_queue=st.sampled_from([0, 2, 100]),
    copy_min_tokens=st.sampled_from([4, 32]),
    follow_min_tokens=st.sampled_from([1, 8]),
    save_min_tokens=st.sampled_from([1, 4]),
    pause_min_tokens=st.sampled_from([1, 6]),
    stride_tokens=st.sampled_from([5, 16]),
    headroom_tokens=st.sampled_from([1, 16]),
    draft_tokens=st.sampled_from([0, 0, 1, 8]),
    turn_s=st.sampled_from([0.0, 0.01, 0.05]),
)

arrivals = st.tuples(
    st.just("submit"),
    prompts,
    st.sampled_from([None, 0, 1, 3, 12]),
    st.sampled_from(["", "ann", "bob"]),
    st.booleans(),
    st.sampled_from([None, None, 0.05, 0.5]),
    st.sampled_from([None, None, (0.0,), (0.5,)]),
    st.sampled_from([None, None, None, 0, 2]),
)
cancels = st.tuples(st.just("cancel"), st.integers(0, 30))
steps = st.tuples(st.just("step"), st.integers(1, 6))
scripts = st.lists(st.one_of(arrivals, arrivals, steps, steps, cancels), min_size=1, max_size=30)
refusals = st.sampled_from([frozenset(), frozenset(), {Restore}, {Copy}, {Trim, Restore, Copy}])
faults = st.dictionaries(
    st.integers(0, 60), st.sampled_from([Outcome.FULL, Outcome.ABORTED, Outcome.FAILED]), max_size=6
)


@cache
def expected(
    prompt: tuple[int, ...], max_tokens: int | None, adapters: Adapters = None
) -> tuple[str, str]:
    return alone(prompt, context_size=CONTEXT, max_tokens=max_tokens, adapters=adapters)


@cache
def expected_begun(
    prompt: tuple[int, ...], adapters: Adapters, scored_top: int | None
) -> tuple[int | None, tuple[Score, ...]]:
    """What is told of a prompt that a fresh engine computes in one step."""
    if scored_top is None:
        return None, ()
    backend = FakeBackend(Capacity(1, 1, CONTEXT, CONTEXT, CONTEXT, True, score_rows=CONTEXT))
    rows = Prefill(0, 0, prompt, None, None, (*prompt[1:], -1), scored_top)
    return prompt[0], backend.run(Plan((), (), (rows,), adapters=adapters)).scores


@given(
    capacities(),
    policies,
    scripts,
    st.one_of(st.just({}), st.just({}), faults),
    st.booleans(),
    refusals,
)
def test_every_id_ends_once_with_the_text_it_has_alone(
    capacity: Capacity,
    policy: Policy,
    script: list[tuple],
    outcomes: dict[int, Outcome],
    can_save: bool,
    refused: frozenset[type[MemoryOp]],
) -> None:
    driver = Driver(capacity, policy, outcomes)
    driver.backend.can_save, driver.backend.refuses = can_save, refused
    asked: list[tuple[tuple[int, ...], int | None, Adapters, int | None]] = []
    for verb, *arguments in script:
        if verb == "submit":
            prompt, max_tokens, client, shares, patience_s, adapters, scored_top = arguments
            deadline_s = None if patience_s is None else driver.now_s + patience_s
            asked.append((prompt, max_tokens, adapters, scored_top))
            driver.submit(
                len(asked) - 1,
                prompt,
                max_tokens=max_tokens,
                client=client,
                shares_prefix=shares,
                deadline_s=deadline_s,
                adapters=adapters,
                scored_top=scored_top,
            )
        elif verb == "cancel":
            driver.cancel(arguments[0])
        else:
            for _ in range(arguments[0]):
                driver.step()
    driver.run(max_steps=4000)

    for id, (prompt, max_tokens, adapters, scored_top) in enumerate(asked):
        last = driver.last(id)
        text, reason = ("", "")
        if len(prompt) < CONTEXT:
            text, reason = expected(prompt, max_tokens, adapters)
        if isinstance(last, Ended):
            begun = [event for event in driver.events[id] if isinstance(event, Begun)]
            told = expected_begun(prompt, adapters, scored_top)
            assert begun == [Begun(id, len(prompt), last.cached_tokens, *told)]
            assert last.cached_tokens < len(prompt)
            if last.reason == "context" and Outcome.FULL in outcomes.values():
                assert text.startswith(driver.text(id))  # no cells for the only sequence left
            else:
                assert (driver.text(id), last.reason) == (text, reason)
        else:
            assert isinstance(last, Failed)
            assert text.startswith(driver.text(id))
            if last.kind is Kind.CONTEXT_LENGTH_EXCEEDED:
                assert len(prompt) >= CONTEXT
            elif last.kind in (Kind.INTERNAL, Kind.UNAVAILABLE):
                assert outcomes
    assert driver.backend.generators == {}


@given(
    capacities().filter(lambda capacity: capacity.shares_cells),
    st.lists(prompts.filter(lambda prompt: len(prompt) < CONTEXT), max_size=12),
    st.integers(1, 3 * CONTEXT),
)
def test_a_memory_smaller_than_it_said_stops_nobody_for_ever(
    capacity: Capacity, wanted: list[tuple[int, ...]], missing: int
) -> None:
    actual = copy.copy(capacity)
    object.__setattr__(actual, "cells", max(1, capacity.cells - missing))
    driver = Driver(capacity, Policy(headroom_tokens=1), actual=actual)
    for id, prompt in enumerate(wanted):
        driver.submit(id, prompt, max_tokens=None)
    driver.run(max_steps=4000)
    for id, prompt in enumerate(wanted):
        assert isinstance(driver.last(id), Ended | Failed)
        assert expected(prompt, None)[0].startswith(driver.text(id))


@given(capacities(), policies, st.lists(prompts.filter(lambda p: len(p) < CONTEXT), max_size=12))
def test_nobody_fails_for_want_of_cells(
    capacity: Capacity, policy: Policy, wanted: list[tuple[int, ...]]
) -> None:
    generous = Policy(
        target_gap_s=policy.target_gap_s,
        copy_min_tokens=policy.copy_min_tokens,
        headroom_tokens=policy.headroom_tokens,
        draft_tokens=policy.draft_tokens,
    )
    driver = Driver(capacity, generous)
    for id, prompt in enumerate(wanted):
        driver.submit(id, prompt, max_tokens=None)
    driver.run()
    for id, prompt in enumerate(wanted):
        assert (driver.text(id), driver.ended(id).reason) == expected(prompt, None)
