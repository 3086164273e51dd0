from __future__ import annotations

import pytest

from runner.supervise.watch import Patience, Watch

PATIENCE = Patience(stall_s=10, silence_s=8, step_s=60, input_s=12)  # looks every second


def look_until(watch: Watch, end_s: float, *, start_s: float = 0.0) -> str | None:
    """Look every second, as the worker's timer does; return the first verdict."""
    now_s = start_s
    while now_s < end_s:
        now_s += 1.0
        if (verdict := watch.verdict(now_s=now_s)) is not None:
            return f"{verdict} at {now_s:g}"
    return None


def loaded(now_s: float = 0.0) -> Watch:
    watch = Watch(PATIENCE, now_s=0.0)
    watch.loaded(now_s=now_s)
    return watch


def test_a_load_without_progress_has_stalled() -> None:
    watch = Watch(PATIENCE, now_s=0.0)
    watch.progressed(0.25, now_s=5.0)
    verdict = look_until(watch, 100)
    assert verdict == "the model's load stopped at 25%: no progress for 10 s at 16"


def test_a_slow_load_that_makes_progress_may_take_any_time() -> None:
    watch = Watch(PATIENCE, now_s=0.0)
    for second in range(100):
        watch.progressed(second / 100, now_s=second)
        assert watch.verdict(now_s=second) is None


def test_the_same_fraction_again_is_no_progress() -> None:
    watch = Watch(PATIENCE, now_s=0.0)
    for second in range(10):
        watch.progressed(0.5, now_s=second)
        watch.heard(now_s=second)
    assert look_until(watch, 12) == "the model's load stopped at 50%: no progress for 10 s at 11"


def test_a_loaded_worker_that_says_nothing_hangs() -> None:
    watch = loaded()
    watch.heard(now_s=2.0)
    assert (look_until(watch, 99) or "").endswith("no sign of life for 8 s at 11")


def test_a_step_longer_than_its_limit_hangs_though_it_beats() -> None:
    watch = loaded()
    watch.stepping(60.0)
    assert watch.verdict(now_s=1.0) is None
    watch.stepping(60.5)
    assert watch.verdict(now_s=2.0) == "the engine hung: one step has run for more than 60 s"


def test_input_that_stays_unread_hangs_and_input_that_flows_does_not() -> None:
    watch = loaded()
    watch.blocked(True, now_s=0.0)
    watch.blocked(False, now_s=5.0)
    watch.blocked(True, now_s=6.0)
    for second in range(1, 19):
        watch.heard(now_s=second)
        assert watch.verdict(now_s=second) is None
    watch.heard(now_s=19)
    assert watch.verdict(now_s=19) == "the engine process hung: it read no input for 12 s"


@pytest.mark.parametrize("away_s", [30.0, 86_400.0])
def test_e15_our_own_pause_is_not_the_worker_s_silence(away_s: float) -> None:
    watch = loaded()
    watch.blocked(True, now_s=0.0)
    assert watch.verdict(now_s=1.0) is None
    assert watch.verdict(now_s=1.0 + away_s) is None  # suspended: its beats wait in the pipe
    watch.heard(now_s=1.0 + away_s)
    watch.blocked(False, now_s=1.0 + away_s)
    assert look_until(watch, away_s + 9.0, start_s=1.0 + away_s) is None


def test_silence_after_our_own_pause_is_noticed_again() -> None:
    watch = loaded()
    watch.verdict(now_s=1.0)
    watch.verdict(now_s=101.0)
    assert look_until(watch, 200, start_s=101.0) is not None
