"""What a step holds, and how sequences end: the rules of the scheduler, one by one."""

from __future__ import annotations

import pytest

from runner.engine.backend import Bind, Copy, Outcome, Plan, Sampled, StepResult, Stop, Trim
from runner.engine.events import Begun, Ended, Failed, Piece
from runner.engine.limits import Policy
from runner.engine.scheduler import Scheduler
from runner.engine.sequence import SequenceRequest
from runner.errors import Kind
from tests.unit.engine.driver import Driver, alone, capacity, tokens


def rows(plan: Plan | None) -> list[tuple[int, int]]:
    """Slot and row count of each prompt part."""
    assert plan is not None
    return [(part.slot, len(part.tokens)) for part in plan.prefill]


def test_without_requests_there_is_no_step() -> None:
    assert Driver(capacity()).step() is None


def test_a_request_begins_shows_its_text_and_ends() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(10), max_tokens=3)
    plans = driver.run()
    kinds = [type(event) for event in driver.events[1]]
    assert kinds == [Begun, Piece, Piece, Piece, Ended]
    assert [plan.rows for plan in plans] == [10, 1, 1]
    assert driver.begun(1) == Begun(1, prompt_tokens=10, cached_tokens=0)
    ended = driver.ended(1)
    assert (ended.reason, ended.prompt_tokens, ended.completion_tokens) == ("length", 10, 3)
    assert ended.prompt_s == pytest.approx(0.015)  # a step of 5 ms with 10 rows of 1 ms
    assert ended.predicted_s == pytest.approx(0.012)


def test_alone_a_prompt_fills_whole_batches() -> None:
    driver = Driver(capacity(batch_size=64))
    driver.submit(1, tokens(150), max_tokens=1)
    assert [plan.rows for plan in driver.run()] == [64, 64, 22]


def test_the_penalties_see_the_end_of_the_prompt() -> None:
    driver = Driver(capacity())
    driver.submit(1, (1, 2, 3, 4), tail_tokens=2)
    plan = driver.step()
    assert plan is not None
    assert plan.memory == (Bind(1, 0, n_past=4, tail=(3, 4)),)


def test_streams_decode_in_every_step_while_a_prompt_is_computed_by_budget() -> None:
    driver = Driver(capacity(batch_size=128), Policy(target_gap_s=0.06))
    driver.submit(1, tokens(8, seed=1), max_tokens=40)
    driver.submit(2, tokens(8, seed=2), max_tokens=40)
    for _ in range(3):
        driver.step()
    driver.submit(3, tokens(200, seed=3), max_tokens=1)
    for _ in range(3):
        plan = driver.step()
        assert plan is not None
        assert len(plan.decode) == 2
        assert [len(part.tokens) for part in plan.prefill] == [30]  # and two streams: a block
    driver.run()
    assert driver.text(3) == alone(tokens(200, seed=3), max_tokens=1)[0]


def test_prompts_are_computed_in_order_of_arrival_and_share_a_batch() -> None:
    driver = Driver(capacity(batch_size=64))
    for id in range(3):
        driver.submit(id, tokens(40, seed=id), max_tokens=1)
    assert [rows(driver.step()) for _ in range(2)] == [[(0, 40), (1, 24)], [(1, 16), (2, 40)]]


def test_no_more_than_parallel_run() -> None:
    driver = Driver(capacity(parallel=2))
    for id in range(5):
        driver.submit(id, tokens(4, seed=id), max_tokens=2)
    driver.step()
    assert (driver.scheduler.running, driver.scheduler.waiting) == (2, 3)
    driver.run()
    assert [driver.ended(id).completion_tokens for id in range(5)] == [2] * 5


def test_clients_take_turns() -> None:
    driver = Driver(capacity(parallel=1))
    for id in range(3):
        driver.submit(id, tokens(4, seed=id), max_tokens=1, client="many")
    driver.submit(9, tokens(4, seed=9), max_tokens=1, client="one")
    driver.step()
    driver.step()
    assert [bool(driver.events[id]) for id in (0, 1, 2, 9)] == [True, False, False, True]


def test_zero_tokens_compute_the_prompt_and_nothing_else() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(10), max_tokens=0)
    assert [plan.rows for plan in driver.run()] == [10]
    assert [type(event) for event in driver.events[1]] == [Begun, Ended]
    assert (driver.ended(1).reason, driver.ended(1).completion_tokens) == ("length", 0)
    driver.submit(2, tokens(11), max_tokens=1)
    driver.run()
    assert driver.begun(2).cached_tokens == 10


def test_a_stop_string_is_never_shown_and_named_in_the_end() -> None:
    text, _ = alone(tokens(10), max_tokens=8)
    driver = Driver(capacity())
    driver.submit(1, tokens(10), stop=("#", text[3:5]), max_tokens=8)
    driver.run()
    assert driver.text(1) == text[: text.index(text[3:5])]
    assert (driver.ended(1).reason, driver.ended(1).stop_index) == ("stop", 1)


def test_a_sequence_ends_where_its_context_is_full() -> None:
    driver = Driver(capacity(context_size=12))
    driver.submit(1, tokens(10), max_tokens=None)
    driver.run()
    # Two more tokens fit behind the prompt; the third is sampled from the last row.
    assert (driver.ended(1).reason, driver.ended(1).completion_tokens) == ("context", 3)


def test_an_id_in_use_is_our_own_mistake() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(4))
    with pytest.raises(ValueError, match="submitted twice"):
        driver.submit(1, tokens(4))


# ---- leaving early ------------------------------------------------------------------------------


def test_a_cancelled_stream_has_no_row_in_the_next_step() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(8, seed=1), max_tokens=50)
    driver.submit(2, tokens(8, seed=2), max_tokens=50)
    driver.step()
    driver.cancel(1)
    assert driver.failed(1) == Failed(1, Kind.CANCELLED, "the request was cancelled")
    plan = driver.step()
    assert plan is not None
    assert len(plan.decode) == 1


def test_cancelling_while_waiting_or_in_the_prompt_frees_the_place() -> None:
    driver = Driver(capacity(parallel=1, batch_size=8))
    driver.submit(1, tokens(30, seed=1))
    driver.submit(2, tokens(30, seed=2))
    driver.submit(3, tokens(4, seed=3), max_tokens=2)
    driver.step()
    driver.cancel(2)
    driver.cancel(1)
    driver.run()
    assert [driver.last(id).__class__ for id in (1, 2, 3)] == [Failed, Failed, Ended]


def test_cancelling_twice_or_something_unknown_changes_nothing() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(4))
    driver.cancel(7)
    driver.cancel(1)
    driver.cancel(1)
    assert len(driver.events[1]) == 1


def test_a_deadline_ends_a_request_wherever_it_is() -> None:
    driver = Driver(capacity(parallel=1))
    driver.submit(1, tokens(4, seed=1), max_tokens=None, deadline_s=0.05)
    driver.submit(2, tokens(4, seed=2), max_tokens=None, deadline_s=0.02)
    driver.submit(3, tokens(5, seed=3), max_tokens=2, deadline_s=9.0)
    driver.run()
    assert (driver.failed(1).kind, driver.failed(2).kind) == (Kind.TIMEOUT, Kind.TIMEOUT)
    assert driver.text(1)
    assert not driver.text(2)
    assert driver.ended(3).reason == "length"


def test_an_old_deadline_does_not_end_a_new_request_of_the_same_id() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(4), max_tokens=1, deadline_s=0.5)
    driver.run()
    driver.submit(1, tokens(4), max_tokens=1)
    driver.now_s = 1.0
    driver.run()
    assert driver.ended(1).reason == "length"


# ---- too few cells ------------------------------------------------------------------------------


def test_cached_texts_give_way_oldest_first() -> None:
    driver = Driver(capacity(cells=64, context_size=64), Policy(headroom_tokens=1))
    driver.submit(1, tokens(20, seed=1), max_tokens=1)
    driver.submit(2, tokens(20, seed=2), max_tokens=1)
    driver.run()
    driver.submit(3, tokens(40, seed=3), max_tokens=1)
    driver.run()
    assert driver.scheduler.cells_used == 60  # of 2 and 3
    driver.submit(4, tokens(21, seed=2), max_tokens=1)
    driver.run()
    assert driver.begun(4).cached_tokens == 20


def test_the_next_in_line_waits_for_cells_and_nobody_overtakes_it() -> None:
    driver = Driver(capacity(cells=64, context_size=64), Policy(headroom_tokens=4))
    driver.submit(1, tokens(40, seed=1), max_tokens=3)
    driver.submit(2, tokens(40, seed=2), max_tokens=3)
    driver.submit(3, tokens(4, seed=3), max_tokens=3)
    driver.step()
    assert (driver.scheduler.running, driver.scheduler.waiting) == (1, 2)
    driver.run()
    for id, length in ((1, 40), (2, 40), (3, 4)):
        assert driver.text(id) == alone(tokens(length, seed=id), max_tokens=3)[0]


def test_rows_promised_to_running_prompts_are_not_promised_again() -> None:
    driver = Driver(capacity(cells=64, context_size=64, batch_size=8), Policy(headroom_tokens=1))
    driver.submit(1, tokens(40, seed=1), max_tokens=1)
    driver.submit(2, tokens(30, seed=2), max_tokens=1)
    driver.step()
    assert driver.scheduler.running == 1


def test_when_streams_outgrow_the_cells_the_youngest_waits_and_loses_nothing() -> None:
    driver = Driver(capacity(cells=64, context_size=60), Policy(headroom_tokens=1))
    driver.submit(1, tokens(20, seed=1), max_tokens=30)
    driver.submit(2, tokens(20, seed=2), max_tokens=30)
    while driver.scheduler.running == 2 or not driver.events[2]:
        driver.step()
    assert driver.scheduler.waiting == 1
    assert isinstance(driver.last(2), Piece)
    driver.run()
    for id in (1, 2):
        assert driver.text(id) == alone(tokens(20, seed=id), max_tokens=30)[0]
        assert driver.begun(id).cached_tokens == 0


def test_a_preempted_sequence_whose_text_is_still_cached_goes_on_without_a_prompt() -> None:
    driver = Driver(capacity(), outcomes={3: Outcome.FULL})
    driver.submit(1, tokens(20, seed=1), max_tokens=4)
    driver.submit(2, tokens(20, seed=2), max_tokens=8)
    for _ in range(4):
        driver.step()
    assert (driver.scheduler.running, driver.scheduler.waiting) == (1, 1)
    plans = driver.run()
    assert [plan.rows for plan in plans] == [1] * 6
    assert driver.text(2) == alone(tokens(20, seed=2), max_tokens=8)[0]


def test_full_memory_takes_a_cached_text_before_a_running_one() -> None:
    driver = Driver(capacity(), outcomes={1: Outcome.FULL})
    driver.submit(1, tokens(20, seed=1), max_tokens=1)
    driver.run()
    driver.submit(2, tokens(20, seed=2), max_tokens=1)
    driver.step()
    assert (driver.scheduler.running, driver.scheduler.cells_used) == (1, 0)
    driver.run()
    assert driver.ended(2).reason == "length"


def test_a_stream_alone_in_full_memory_ends_as_at_its_context() -> None:
    driver = Driver(capacity(), outcomes={2: Outcome.FULL})
    driver.submit(1, tokens(20), max_tokens=9)
    driver.run()
    assert (driver.ended(1).reason, driver.ended(1).completion_tokens) == ("context", 2)


def test_a_prompt_alone_in_full_memory_fails_with_a_reason() -> None:
    driver = Driver(capacity(), outcomes={0: Outcome.FULL})
    driver.submit(1, tokens(20))
    driver.run()
    assert driver.failed(1).kind is Kind.UNAVAILABLE


# ---- steps that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(Outcome.FAILED, Kind.INTERNAL), (Outcome.ABORTED, Kind.UNAVAILABLE)],
)
def test_a_broken_step_fails_those_in_it_and_trusts_nothing_they_left(
    outcome: Outcome, kind: Kind
) -> None:
    driver = Driver(capacity(parallel=2), outcomes={1: outcome})
    for id in range(3):
        driver.submit(id, tokens(20, seed=id), max_tokens=4)
    driver.step()
    driver.step()
    assert [driver.failed(id).kind for id in range(2)] == [kind, kind]
    assert driver.scheduler.cells_used == 0
    plan = driver.step()
    assert plan is not None
    assert {Trim(0, 0), Trim(1, 0)} <= set(plan.memory)
    driver.submit(5, tokens(20, seed=0), max_tokens=4)
    driver.run()
    assert driver.text(2) == alone(tokens(20, seed=2), max_tokens=4)[0]
    assert driver.text(5) == alone(tokens(20, seed=0), max_tokens=4)[0]


def test_the_error_of_a_step_is_told() -> None:
    driver = Driver(capacity(), outcomes={0: Outcome.FAILED})
    driver.submit(1, tokens(4))
    driver.run()
    assert driver.failed(1).message == "the engine could not compute a step: made to fail"


def test_those_without_a_row_in_a_broken_step_go_on() -> None:
    driver = Driver(capacity(batch_size=8, parallel=2), outcomes={1: Outcome.FAILED})
    driver.submit(1, tokens(30, seed=1), max_tokens=2)
    driver.submit(2, tokens(30, seed=2), max_tokens=2)
    driver.run()
    assert driver.failed(1).kind is Kind.INTERNAL
    assert driver.text(2) == alone(tokens(30, seed=2), max_tokens=2)[0]


def settled(sampled: Sampled) -> list[object]:
    """Events of a sequence whose first sample is ``sampled``."""
    scheduler = Scheduler(capacity())
    scheduler.submit(SequenceRequest(1, (1, 2), generator=5))
    plan = scheduler.plan(0.0)
    assert plan is not None
    scheduler.settle(plan, StepResult(Outcome.OK, (sampled,), 0.01), 0.01)
    scheduler.check()
    return list(scheduler.take_events()[1:])


def test_a_grammar_that_allows_no_token_is_an_error_of_the_request() -> None:
    [failed] = settled(Sampled(5, 0, "", Stop.GRAMMAR))
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.param) == (Kind.INVALID_REQUEST, "response_format")


def test_the_end_token_shows_what_was_held_back_and_is_no_piece_itself() -> None:
    assert [type(event) for event in settled(Sampled(5, 2, "", Stop.EOS))] == [Ended]
    assert [type(event) for event in settled(Sampled(5, 2, "h", Stop.EOS))] == [Piece, Ended]


def test_log_probabilities_travel_with_their_token() -> None:
    [piece] = settled(Sampled(5, 7, "", logprob=-0.5, top=((7, -0.5), (8, -1.0))))
    assert piece == Piece(1, "", 7, -0.5, ((7, -0.5), (8, -1.0)))


def test_the_totals_count_what_was_done() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(10), max_tokens=2)
    driver.run()
    driver.submit(2, tokens(10), max_tokens=2)
    driver.run()
    totals = driver.scheduler.totals
    assert (totals.prompt_tokens, totals.cached_tokens) == (20, 9)
    assert (totals.completion_tokens, totals.steps) == (4, 4)


def test_a_unified_copy_is_planned_for_a_text_that_still_runs() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(20), max_tokens=50)
    driver.step()
    driver.submit(2, tokens(20), max_tokens=2)
    plan = driver.step()
    assert plan is not None
    assert plan.memory[0] == Copy(source=0, target=1, length=19)
    assert rows(plan) == [(1, 1)]


def test_streams_are_copied_one_a_step_while_others_wait_for_tokens() -> None:
    driver = Driver(capacity(streams=True))
    driver.submit(1, tokens(60), max_tokens=50)
    driver.step()
    for id in (2, 3, 4):
        driver.submit(id, tokens(60), max_tokens=50)
    copies = []
    for _ in range(4):
        plan = driver.step()
        assert plan is not None
        copies.append(sum(isinstance(operation, Copy) for operation in plan.memory))
    assert copies == [1, 1, 1, 0]


def test_without_streams_to_hold_up_all_copies_are_made_at_once() -> None:
    driver = Driver(capacity(streams=True))
    driver.submit(1, tokens(60), max_tokens=1)
    driver.run()
    for id in (2, 3, 4):
        driver.submit(id, (*tokens(60), id, id), max_tokens=1)
    plan = driver.step()
    assert plan is not None
    assert sum(isinstance(operation, Copy) for operation in plan.memory) == 2  # and one in place
