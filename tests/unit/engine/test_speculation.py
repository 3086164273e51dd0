"""Guesses are checked while that is faster, by as many as pay, and never change a text."""

from __future__ import annotations

import pytest

from runner.engine.backend import GeneratorId
from runner.engine.limits import Policy
from runner.engine.pace import Pace
from runner.engine.sequence import Guessing, Sequence, SequenceRequest
from runner.engine.speculation import Speculation
from tests.unit.engine.driver import Driver, alone, capacity, tokens

LIMITS = capacity(context_size=4096, cells=16384, batch_size=512)
POLICY = Policy(draft_tokens=8)


def make(row_s: float, *, step_s: float = 0.004) -> Speculation:
    """Of a machine on which each guessed row adds its time to a step of ``step_s``."""
    pace = Pace(POLICY, batch_size=512, is_mixed=True)
    for rows in (1, 2, 4, 8):
        pace.observe(rows, 0, step_s)
    for rows in (1, 2, 4, 8, 16, 32, 64):
        pace.observe(1, 0, step_s + rows * row_s, guessed_rows=rows)
    speculation = Speculation(POLICY, LIMITS, pace)
    speculation.settle(stream(), 8, 8)  # eight guesses were tried before
    return speculation


def stream(*, right: int = 0, wrong: int = 0, **more: int) -> Sequence:
    sequence = Sequence(SequenceRequest(0, (1, 2), 1, more.pop("max_tokens", None)), [1, 2])
    for _ in range(right):
        sequence.guessing.learn(1, 1, 0)
    for _ in range(wrong):
        sequence.guessing.learn(1, 0, 0)
    for name, value in more.items():
        setattr(sequence, name, value)
    return sequence


def drafts(speculation: Speculation, *streams: Sequence, spare_rows: int = 500) -> tuple[int, ...]:
    decoding: dict[GeneratorId, Sequence] = dict(enumerate(streams))
    return speculation.drafts(tuple(decoding), decoding, spare_rows=spare_rows)


@pytest.mark.parametrize(
    ("row_s", "right", "wrong", "guesses"),
    [
        (0.0, 20, 0, (8,)),  # spare rows cost nothing
        (0.0, 0, 1, (2,)),  # what never was right is not tried with many
        (0.001, 20, 0, (8,)),  # a quarter of a step for each, and nearly all are right
        (0.001, 0, 0, (2,)),  # four of five are hoped to be
        (0.001, 0, 2, ()),
        (0.004, 20, 0, ()),  # a guessed row costs a step
    ],
)
def test_as_many_as_pay(row_s: float, right: int, wrong: int, guesses: tuple[int, ...]) -> None:
    assert drafts(make(row_s), stream(right=right, wrong=wrong)) == guesses


def test_who_guesses_badly_sits_out_while_others_guess_on() -> None:
    good, bad = stream(right=20), stream(wrong=4)
    assert drafts(make(0.0005), good, bad, good) == (8, 0, 8)


def test_the_same_row_cost_pays_for_one_stream_and_not_for_four() -> None:
    assert drafts(make(0.001), stream(right=20)) == (8,)
    assert drafts(make(0.001), *[stream(right=20) for _ in range(4)]) == ()


def test_nobody_guesses_beyond_its_context_or_its_last_token() -> None:
    streams = [
        stream(right=20, computed=4091),  # rows for its own token and four more
        stream(right=20, computed=4095),
        stream(right=20, max_tokens=10, generated=7),  # three more, the last not guessed
        stream(right=20, max_tokens=10, generated=9),
    ]
    assert drafts(make(0.0), *streams) == (4, 0, 2, 0)


def test_without_spare_rows_there_are_no_guesses() -> None:
    assert drafts(make(0.0), stream(right=20), spare_rows=7) == ()


def test_memory_that_cannot_trim_and_a_policy_without_guesses_have_none() -> None:
    pace = Pace(POLICY, batch_size=512, is_mixed=True)
    for policy, limits in ((Policy(), LIMITS), (POLICY, capacity(can_guess=False))):
        assert drafts(Speculation(policy, limits, pace), stream(right=20)) == ()


def test_what_was_never_measured_is_tried_with_few_and_then_more() -> None:
    pace = Pace(POLICY, batch_size=512, is_mixed=True)
    pace.observe(1, 0, 0.004)
    speculation = Speculation(POLICY, LIMITS, pace)
    one = stream(right=20)
    seen = []
    for _ in range(4):
        [guesses] = drafts(speculation, one)
        speculation.settle(one, guesses, guesses)
        seen.append(guesses)
    assert seen == [2, 4, 8, 8]


def test_where_it_does_not_pay_its_cost_is_measured_again_now_and_then() -> None:
    speculation = make(0.004)
    one = stream(right=20)
    decoding = {1: one}
    decode = tuple(decoding)
    tried = [speculation.drafts(decode, decoding, spare_rows=99) for _ in range(2000)]
    assert [guesses for guesses in tried if guesses] == [(2,), (4,), (8,), (1,), (2,), (4,), (8,)]


def test_bad_guesses_are_forgiven_later_each_time() -> None:
    guessing = Guessing()
    forgiven = []
    for generated in range(2000):
        if guessing.share(generated) >= 0.8:
            forgiven.append(generated)
            guessing.learn(2, 0, generated)
    assert forgiven == [0, 16, 48, 112, 240, 496, 1008]


# ---- through the scheduler ----------------------------------------------------------------------


def test_guesses_change_the_steps_and_not_the_text() -> None:
    driver = Driver(capacity(), Policy(draft_tokens=4))
    driver.submit(1, tokens(20), max_tokens=40)
    plans = driver.run()
    text, reason = alone(tokens(20), max_tokens=40)
    ended = driver.ended(1)
    assert (driver.text(1), ended.reason) == (text, reason)
    assert ended.completion_tokens == 40
    assert len(plans) < 30
    assert 0 < ended.accepted < ended.drafted
    totals = driver.scheduler.totals
    assert (totals.drafted, totals.accepted) == (ended.drafted, ended.accepted)


def test_while_prompts_want_rows_nobody_guesses() -> None:
    driver = Driver(capacity(batch_size=16), Policy(draft_tokens=4))
    driver.submit(1, tokens(8, seed=1), max_tokens=40)
    driver.step()
    driver.submit(2, tokens(60, seed=2), max_tokens=2)
    for _ in range(4):
        plan = driver.step()
        assert plan is not None
        assert (bool(plan.prefill), plan.drafts) == (True, ())


def test_a_stop_among_guesses_ends_the_stream_there() -> None:
    text, _ = alone(tokens(10), max_tokens=40)
    driver = Driver(capacity(), Policy(draft_tokens=8))
    driver.backend.wrong_every = 1000
    driver.submit(1, tokens(10), max_tokens=40, stop=(text[20:24],))
    driver.run()
    assert driver.text(1) == text[: text.index(text[20:24])]
    assert driver.ended(1).reason == "stop"


def test_guesses_fit_the_context_exactly() -> None:
    driver = Driver(capacity(context_size=40), Policy(draft_tokens=8))
    driver.backend.wrong_every = 1000
    driver.submit(1, tokens(10), max_tokens=None)
    driver.run()
    assert (driver.text(1), driver.ended(1).reason) == alone(
        tokens(10), max_tokens=None, context_size=40
    )


def test_guesses_take_no_cells_from_cached_texts() -> None:
    driver = Driver(capacity(cells=64, context_size=64), Policy(headroom_tokens=1, draft_tokens=8))
    driver.submit(1, tokens(30, seed=1), max_tokens=1)
    driver.run()
    driver.submit(2, tokens(20, seed=2), max_tokens=10)
    driver.run()
    driver.submit(3, tokens(31, seed=1), max_tokens=1)
    driver.run()
    assert driver.begun(3).cached_tokens == 30
