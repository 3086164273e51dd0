"""The tuner on a bench of numbers: it works when idle, lets go at once, and tells once."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest
from msgspec.structs import replace

from runner.binding import Code, NativeError
from runner.wire.messages import EngineWishes, Measured, Message, Rates, Tune, Tuned, TunedSettings
from runner.worker.measuring import InterruptedStep
from runner.worker.neighbours import CpuTime
from runner.worker.settings import Machine, Traits, choose
from runner.worker.tuner import Tuner
from runner.worker.tuning import Result, Shape, Space

GIB = 1024**3
SETTINGS = choose(
    EngineWishes(),
    Traits(context_train=8192, size_bytes=GIB, cell_elements=11_520, has_state=False),
    Machine(
        cpus=2,
        quota_cpus=None,
        physical_cores=2,
        available_bytes=16 * GIB,
        device_free_bytes=None,
    ),
)
ONLY_FLASH = Space(flash_attention=True, kv_layout=False, ubatch_size=False, threads=())
NOTHING = Space(flash_attention=False, kv_layout=False, ubatch_size=False, threads=())
BASE = TunedSettings(
    flash_attention=False, kv_layout="streams", ubatch_size=512, threads=2, threads_batch=2
)
FLASH = replace(BASE, flash_attention=True)
SLICES = 3  # of each candidate


class FakeBench:
    """Flash attention is twice as fast here. Steps are slices without work."""

    def __init__(self) -> None:
        self.begun: list[TunedSettings] = []
        self.open = 0  # contexts
        self.step_s = 0.1
        self.error: Exception | None = None
        self.now_s = 0.0
        self.others_s = 0.0  # that somebody else computes in each slice

    def probe(self, settings: TunedSettings) -> Generator[None, None, float]:
        yield
        return 0.001

    def measure(
        self,
        settings: TunedSettings,
        shape: Shape,
        *,
        threads: Sequence[int] = (),
        limit_s: float | None = None,
    ) -> Generator[None, None, Result | None]:
        self.begun.append(settings)
        self.open += 1
        try:
            for _ in range(SLICES):
                yield
                self.now_s += self.step_s
                if self.error is not None:
                    raise self.error
        finally:
            self.open -= 1
        speed = 200.0 if settings.flash_attention else 100.0
        return Result(Rates(one=speed, one_deep=speed, many=speed, prompt=speed), {})

    def abort(self) -> None:
        self.error = InterruptedStep("aborted")


class Scene:
    def __init__(self, *, space: Space = ONLY_FLASH, after_s: float | None = 5.0) -> None:
        self.bench = FakeBench()
        self.sent: list[Message] = []
        self.shape: Shape | None = Shape(rows=8, each=128, depth=600, thread_counts=0)
        self.tuner = Tuner(
            self.bench,
            SETTINGS,
            space,
            fit=lambda row_s: self.shape,
            send=self.sent.append,
            after_s=after_s,
            cpu_time=self.cpu_time,
            clock=lambda: self.bench.now_s,
        )

    def cpu_time(self) -> CpuTime:
        now_s = self.bench.now_s
        return CpuTime(now_s, busy_s=now_s * (2.0 + self.bench.others_s), own_s=now_s * 2.0)

    def work(self, slices: int = 100) -> None:
        for _ in range(slices):
            self.tuner.work()

    @property
    def tuned(self) -> list[Tuned]:
        return [message for message in self.sent if isinstance(message, Tuned)]


def test_it_waits_for_idleness_then_works_without_a_pause_and_is_done() -> None:
    s = Scene()
    assert s.tuner.patience_s() == 5.0
    s.work(1)
    assert s.tuner.patience_s() == 0.0
    s.work()
    assert s.tuner.patience_s() is None
    assert [type(message) for message in s.sent] == [Measured, Measured, Measured, Tuned]
    assert s.tuned[0].settings == FLASH
    assert s.tuned[0].gain == pytest.approx(2.0)
    assert not s.tuned[0].is_disturbed
    assert s.bench.open == 0


def test_unasked_and_unwanted_it_does_nothing() -> None:
    s = Scene(after_s=None)
    s.work()
    assert (s.tuner.patience_s(), s.sent) == (None, [])


def test_asked_it_does_not_wait_long() -> None:
    s = Scene(after_s=None)
    s.tuner.obey(Tune())
    assert s.tuner.patience_s() == 0.2
    s.work()
    assert (len(s.tuned), s.tuner.patience_s()) == (1, None)


def test_it_lets_go_for_a_request_and_keeps_what_it_knows() -> None:
    s = Scene()
    while len(s.bench.begun) < 2:
        s.work(1)
    s.tuner.leave()
    assert (s.bench.open, s.tuner.patience_s()) == (0, 5.0)
    s.work()
    assert s.bench.begun == [BASE, FLASH, FLASH, BASE]
    assert len(s.tuned) == 1


def test_an_aborted_step_is_a_reason_to_let_go() -> None:
    s = Scene()
    s.work(3)
    s.tuner.interrupt()
    s.work(1)
    assert (s.bench.open, s.tuner.patience_s(), s.sent) == (0, 5.0, [])
    s.bench.error = None
    s.work()
    assert len(s.tuned) == 1


def test_too_many_interruptions_end_it() -> None:
    s = Scene()
    s.bench.error = InterruptedStep("aborted")
    s.work(1000)
    assert s.tuned == [Tuned(problem="requests came in between too often")]
    assert s.tuner.patience_s() is None


def test_beside_other_work_nothing_is_kept_and_it_tries_again_later() -> None:
    s = Scene()
    s.bench.others_s = 1.0
    while s.tuner.patience_s() != 60.0:
        s.work(1)
    assert s.sent == []
    s.bench.others_s = 0.0
    s.work()
    assert [tuned.is_disturbed for tuned in s.tuned] == [False]
    assert s.tuned[0].settings == FLASH


def test_asked_beside_other_work_it_goes_on_and_says_so() -> None:
    s = Scene(after_s=None)
    s.bench.others_s = 1.0
    s.tuner.obey(Tune())
    s.work()
    assert [(tuned.settings, tuned.is_disturbed) for tuned in s.tuned] == [(FLASH, True)]


def test_a_disturbed_search_that_was_asked_for_is_made_again_unasked() -> None:
    s = Scene()
    s.bench.others_s = 1.0
    s.tuner.obey(Tune())
    while not s.tuned:
        s.work(1)
    assert s.tuner.patience_s() == 60.0
    s.bench.others_s = 0.0
    s.work()
    assert [tuned.is_disturbed for tuned in s.tuned] == [True, False]
    assert s.tuner.patience_s() is None


def test_who_asked_may_think_better_of_it() -> None:
    s = Scene(after_s=None)
    s.tuner.obey(Tune())
    s.work(4)
    s.tuner.obey(Tune(stop=True))
    s.work()
    assert (s.bench.open, s.tuned, s.tuner.patience_s()) == (0, [], None)


def test_when_every_setting_is_given_it_says_so_to_who_asks() -> None:
    s = Scene(space=NOTHING)
    assert s.tuner.patience_s() is None
    s.tuner.obey(Tune())
    s.work()
    assert s.sent == [Tuned(problem="there is nothing to choose: the settings were given")]


def test_without_memory_it_says_so() -> None:
    s = Scene()
    s.shape = None
    s.work()
    assert s.sent == [Tuned(problem="there is no memory free to measure in")]


def test_a_failing_model_ends_it() -> None:
    s = Scene()
    s.bench.error = NativeError(Code.NO_MEMORY, "no room")
    s.work()
    assert s.sent == [Tuned(problem="the model could not be measured: no room")]


def test_what_takes_too_long_in_all_is_cut_short() -> None:
    s = Scene()
    s.bench.step_s = 20.0
    s.work()
    assert s.bench.begun == [BASE]
    assert (s.tuned[0].settings, s.tuned[0].gain) == (BASE, 1.0)
