"""Who may wait, who waits for another's prompt, and what that saves."""

from __future__ import annotations

from runner.engine.admission import follow, is_following
from runner.engine.backend import Outcome, Plan
from runner.engine.limits import Policy
from runner.engine.prefix import NO_MATCH
from runner.engine.sequence import Phase, Sequence, SequenceRequest
from runner.errors import Kind
from tests.unit.engine.driver import Driver, alone, capacity, tokens


def computed(plans: list[Plan]) -> int:
    """Prompt rows of all steps."""
    return sum(len(part.tokens) for plan in plans for part in plan.prefill)


def test_a_prompt_over_the_context_is_refused_with_both_numbers_and_the_command() -> None:
    driver = Driver(capacity(context_size=100))
    driver.submit(1, tokens(100))
    failed = driver.failed(1)
    assert failed.kind is Kind.CONTEXT_LENGTH_EXCEEDED
    assert failed.details == {"n_prompt_tokens": 100, "n_ctx": 100}
    assert failed.hint is not None
    assert "python -m runner serve --context-size 1024" in failed.hint
    driver.submit(2, tokens(99), max_tokens=1)
    driver.run()
    assert driver.ended(2).reason == "length"


def test_an_empty_prompt_is_refused() -> None:
    driver = Driver(capacity())
    driver.submit(1, ())
    assert driver.failed(1).kind is Kind.INVALID_REQUEST


def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    driver = Driver(capacity(parallel=2), Policy(max_queue=3))
    for id in range(6):
        driver.submit(id, tokens(4, seed=id), max_tokens=1)
    assert driver.failed(5).kind is Kind.BUSY
    assert driver.failed(5).details == {"retry_after_s": 3}
    driver.run()
    assert [driver.ended(id).reason for id in range(5)] == ["length"] * 5


def test_equal_prompts_that_come_together_are_computed_once() -> None:
    driver = Driver(capacity())
    for id in range(4):
        driver.submit(id, tokens(200), max_tokens=3)
    assert computed(driver.run()) == 200 + 3
    assert [driver.begun(id).cached_tokens for id in range(4)] == [0, 199, 199, 199]
    assert {driver.text(id) for id in range(4)} == {alone(tokens(200), max_tokens=3)[0]}


def test_a_shared_beginning_is_computed_once_while_others_pass() -> None:
    driver = Driver(capacity(parallel=3, batch_size=32))
    system = tokens(100)
    driver.submit(1, system + (1,) * 20, max_tokens=2)
    driver.submit(2, system + (2,) * 20, max_tokens=2)
    driver.submit(3, tokens(20, seed=7), max_tokens=2)
    plan = driver.step()
    assert plan is not None
    assert driver.scheduler.running == 2  # 1, and 3 which has nothing to wait for
    driver.run()
    assert driver.begun(2).cached_tokens == 100
    assert driver.text(2) == alone(system + (2,) * 20, max_tokens=2)[0]


def test_a_short_common_beginning_is_not_worth_the_wait() -> None:
    driver = Driver(capacity(), Policy(follow_min_tokens=32))
    driver.submit(1, tokens(20) + (1,) * 20)
    driver.submit(2, tokens(20) + (2,) * 20)
    driver.step()
    assert driver.scheduler.running == 2


def test_when_the_leader_leaves_the_followers_go_on_behind_a_new_one() -> None:
    driver = Driver(capacity(batch_size=32))
    for id in range(3):
        driver.submit(id, tokens(200), max_tokens=2)
    driver.step()
    assert driver.scheduler.running == 1
    driver.cancel(0)
    plans = driver.run()
    assert computed(plans) == 200 - 32 + 1  # what the first one left is not lost either
    for id in (1, 2):
        assert driver.text(id) == alone(tokens(200), max_tokens=2)[0]


def test_a_sequence_waits_for_a_few_leaders_and_no_more() -> None:
    def waiting(waits_left: int) -> Sequence:
        request = SequenceRequest(1, tokens(100), None)
        return Sequence(request, list(request.prompt), waits_left=waits_left)

    leader = waiting(4)
    leader.phase = Phase.PROMPT
    follower = waiting(1)
    assert follow(follower, NO_MATCH, [leader], gain=32)
    assert is_following(follower)
    leader.phase = Phase.ENDED
    assert not is_following(follower)
    leader.phase = Phase.PROMPT
    assert not follow(follower, NO_MATCH, [leader], gain=32)


def test_a_broken_leader_does_not_break_its_followers() -> None:
    driver = Driver(capacity(batch_size=32), outcomes={1: Outcome.FAILED})
    driver.submit(0, tokens(200), max_tokens=2)
    driver.submit(1, tokens(200), max_tokens=2)
    driver.run()
    assert driver.failed(0).kind is Kind.INTERNAL
    assert driver.text(1) == alone(tokens(200), max_tokens=2)[0]


def test_a_private_request_neither_reads_nor_feeds_the_cache() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(50), max_tokens=1, shares_prefix=False)
    driver.submit(2, tokens(50), max_tokens=1)
    driver.run()
    assert driver.begun(2).cached_tokens == 0
    driver.submit(3, tokens(50), max_tokens=30, shares_prefix=False)
    driver.step()
    assert driver.begun(3).cached_tokens == 0
    driver.submit(4, tokens(51), max_tokens=1)
    driver.run()
    assert driver.begun(4).cached_tokens == 50  # of 2, although 3 has as much and runs
    assert driver.scheduler.cells_used == 51  # 1 and 3 are gone


def test_the_cache_changes_no_text() -> None:
    for streams in (False, True):
        driver = Driver(capacity(streams=streams), Policy(copy_min_tokens=8))
        for turn in range(6):
            driver.submit(turn, tokens(30 + 20 * turn), max_tokens=5)
            driver.run()
            assert driver.text(turn) == alone(tokens(30 + 20 * turn), max_tokens=5)[0]


def test_what_a_private_request_computes_is_found_by_nobody() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(50), max_tokens=30, shares_prefix=False)
    driver.step()
    driver.submit(2, tokens(50), max_tokens=1)
    driver.run()
    assert driver.begun(2).cached_tokens == 0


def test_nobody_waits_for_a_private_prompt() -> None:
    driver = Driver(capacity())
    driver.submit(1, tokens(200), max_tokens=1, shares_prefix=False)
    driver.submit(2, tokens(200), max_tokens=1)
    driver.step()
    assert (driver.scheduler.running, driver.scheduler.waiting) == (2, 0)
