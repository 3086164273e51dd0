"""The fake is as strict as a real context: what that would refuse or abort on, this refuses."""

from __future__ import annotations

import pytest

from runner.engine.backend import Bind, Copy, Outcome, Plan, Prefill, Trim
from runner.engine.fake import FakeBackend
from tests.unit.engine.driver import capacity


def backend(**changes: object) -> FakeBackend:
    """A backend with six tokens in slot 0."""
    made = FakeBackend(capacity(**changes))
    made.run(Plan((), (), (Prefill(0, 0, (1, 2, 3, 4, 5, 6), None),)))
    return made


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (Plan((), (), ()), "0 rows"),
        (Plan((), (), (Prefill(1, 0, (1,) * 129, None),)), "129 rows"),
        (Plan((), (), (Prefill(0, 7, (1,), None),)), "a gap before prompt rows"),
        (Plan((), (), (Prefill(0, 5, (1,), None),)), "a gap before prompt rows"),
        (Plan((Trim(0, 3),), (), (Prefill(0, 6, (1,), None),)), "a gap before prompt rows"),
        (Plan((Copy(0, 1, 7),), (), ()), "slot 0 is too short"),
        (Plan((Copy(0, 1, 2), Copy(0, 1, 2)), (), ()), "slot 1 is not empty"),
        (Plan((Bind(1, 0, 6, ()),), (1,), ()), "nothing to feed"),
        (Plan((Bind(1, 0, 6, ()),), (), (Prefill(0, 6, (1,), 1),)), "a generator elsewhere"),
    ],
)
def test_a_plan_that_a_real_context_would_refuse_is_refused(plan: Plan, problem: str) -> None:
    made = backend()
    made.new_generator()
    with pytest.raises(ValueError, match=problem):
        made.run(plan)


def test_a_memory_that_cannot_trim_refuses_a_partial_one() -> None:
    made = backend(can_trim=False)
    with pytest.raises(ValueError, match="cannot trim"):
        made.run(Plan((Trim(0, 3),), (), ()))
    made.run(Plan((Trim(0, 0),), (), (Prefill(0, 0, (1,), None),)))


def test_guesses_need_a_memory_that_forgets_wrong_ones_and_a_number_for_each_stream() -> None:
    for made, drafts in ((backend(can_guess=False), (1,)), (backend(), (1, 1))):
        made.new_generator()
        made.run(Plan((Bind(1, 1, 1, ()),), (), (Prefill(1, 0, (5,), 1),)))
        with pytest.raises(ValueError, match="guesses"):
            made.run(Plan((), (1,), (), drafts))


@pytest.mark.parametrize(("most", "drafted", "sampled"), [(2, 2, 3), (3, 3, 3), (8, 7, 3)])
def test_it_samples_behind_right_guesses_and_stops_at_a_wrong_one(
    most: int, drafted: int, sampled: int
) -> None:
    made = FakeBackend(capacity(), can_end=False)
    generator = made.new_generator(max_tokens=9)
    made.run(Plan((Bind(1, 0, 1, ()),), (), (Prefill(0, 0, (5,), generator),)))
    result = made.run(Plan((), (generator,), (), (most,)))
    assert (result.drafted, len(result.sampled)) == ((drafted,), sampled)
    assert made.cells_used == 1 + sampled


@pytest.mark.parametrize("streams", [False, True])
def test_full_memory_computes_nothing(streams: bool) -> None:
    made = backend(streams=streams, context_size=8, cells=64)
    parts = (Prefill(0, 6, (1, 2, 3), None),) if streams else (Prefill(1, 0, (1,) * 59, None),)
    assert made.run(Plan((), (), parts)).outcome is Outcome.FULL
    assert made.cells_used == 6


def test_a_copied_prefix_shares_cells_only_in_unified_memory() -> None:
    for streams, cells in ((False, 7), (True, 11)):
        made = backend(streams=streams)
        made.run(Plan((Copy(0, 1, 4),), (), (Prefill(1, 4, (9,), None),)))
        assert made.cells_used == cells
