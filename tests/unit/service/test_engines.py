"""The router's promises, with engines that do what the test says and a clock that it turns."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.service import EngineLimits, Engines
from runner.service.catalogue import EngineFiles
from runner.service.lease import Lease
from runner.service.options import ModelSettings
from runner.service.residency import Phase
from runner.service.tuning import Tuning
from runner.store import StoredModel
from runner.supervise.death import explain_exit, stopped
from runner.wire.messages import (
    EngineWishes,
    Measured,
    Rates,
    Sampling,
    Submit,
    TextPrompt,
    Tuned,
    TunedSettings,
)
from tests.support.fake_engine import CRASH, FakeGpu, FakeModels, FakeSpawn, beat, estimate

ASK = Submit(id=0, prompt=TextPrompt(text="hi"), sampling=Sampling())


class Scene:
    """Engines over fakes."""

    def __init__(
        self,
        *,
        max_loaded: int = 4,
        at_once: bool = True,
        keep_alive_s: float = 300.0,
        max_waiting: int = 1024,
        draft_model: str | None = None,
        tuning: Tuning | None = None,
        available_bytes: Callable[[Iterable[int]], int | None] = lambda pids: None,
    ) -> None:
        self.now_s = 1000.0
        self.models = FakeModels("a", "b", "c")
        self.spawn = FakeSpawn(at_once=at_once)
        self.wishes = EngineWishes()
        self.keep_alive_s = keep_alive_s
        self.draft_model = draft_model
        self.engines = Engines(
            self.models,
            self.spawn,
            settings_for=self.settings_for,
            estimate=estimate,
            limits=EngineLimits(max_loaded=max_loaded, max_waiting=max_waiting),
            tuning=tuning,
            library_path=Path("/lib.so"),
            available_bytes=available_bytes,
            clock=lambda: self.now_s,
        )

    async def settings_for(self, model: StoredModel) -> ModelSettings:
        return ModelSettings(self.wishes, self.keep_alive_s, self.draft_model)

    def ask(self, name: str) -> asyncio.Task[Lease]:
        return asyncio.create_task(self.engines.lease(name))

    async def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.engines.tick()
        await settle()

    @property
    def loaded(self) -> list[str]:
        return [model.name for model in self.engines.running()]


async def settle() -> None:
    """Let everything that can happen now happen."""
    for _ in range(20):
        await asyncio.sleep(0)


def at_work() -> set[str]:
    """The names of tasks besides ours and those that models have."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return {task.get_name() for task in others if not task.get_name().startswith("model ")}


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run a scene and see that it leaves no task behind."""

    async def whole() -> None:
        await scene()
        await settle()
        assert at_work() == set()

    asyncio.run(whole())


def test_a_model_is_loaded_once_and_shared() -> None:
    async def scene() -> None:
        s = Scene()
        first, second = await s.engines.lease("a"), await s.engines.lease("a")
        assert s.spawn.loads == ["a"]
        assert first.ready == second.ready
        (model,) = s.engines.running()
        assert (model.name, model.phase, model.leases) == ("a", Phase.READY, 2)

    play(scene)


def test_all_who_wait_for_one_model_cost_one_load() -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        asked = [s.ask("a") for _ in range(50)]
        await settle()
        assert s.spawn.loads == ["a"]
        s.spawn.finish("a")
        await asyncio.gather(*asked)
        assert s.spawn.loads == ["a"]

    play(scene)


def test_e12_the_first_who_asked_may_leave_and_the_load_goes_on_for_the_others() -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        first, second = s.ask("a"), s.ask("a")
        await settle()
        first.cancel()
        await s.pass_time(60)
        s.spawn.finish("a")
        await second
        assert s.spawn.loads == ["a"]

    play(scene)


def test_a_load_that_nobody_waits_for_any_more_is_given_up_after_a_moment() -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        only = s.ask("a")
        await settle()
        s.now_s += 60  # the moment counts from when the last one left
        only.cancel()
        await settle()
        await s.pass_time(4.9)
        assert s.loaded == ["a"]
        await s.pass_time(0.2)
        assert s.loaded == []
        assert s.spawn.given_up == ["a"]

    play(scene)


def test_a_load_that_was_given_up_is_begun_anew_for_the_next() -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        only = s.ask("a")
        await settle()
        only.cancel()
        await settle()
        s.now_s += 10
        s.engines.tick()  # gives the load up; its end has not been heard yet
        later = s.ask("a")
        await settle()
        s.spawn.finish("a")
        await later
        assert (s.spawn.given_up, s.spawn.loads) == (["a"], ["a", "a"])

    play(scene)


def test_who_leaves_just_when_it_is_served_holds_nothing() -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        asked = s.ask("a")
        await settle()
        s.spawn.finish("a")
        while not s.engines.running()[0].leases:
            await asyncio.sleep(0)
        asked.cancel()
        await settle()
        assert asked.cancelled()
        assert s.engines.running()[0].leases == 0

    play(scene)


def test_e12_a_queued_request_that_leaves_evicts_nobody() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=1)
        lease = await s.engines.lease("a")
        queued = s.ask("b")
        await settle()
        queued.cancel()
        lease.release()
        await settle()
        assert s.loaded == ["a"]
        assert s.spawn.loads == ["a"]

    play(scene)


def test_a_busy_model_is_not_evicted_and_its_place_is_given_on_when_it_is_idle() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=1)
        lease = await s.engines.lease("a")
        queued = s.ask("b")
        await settle()
        assert s.loaded == ["a"]
        lease.release()
        await queued
        assert s.loaded == ["b"]

    play(scene)


def test_the_idle_model_used_longest_ago_is_evicted() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=2)
        for name in ("a", "b", "a"):
            s.now_s += 1
            (await s.engines.lease(name)).release()
        await s.engines.lease("c")
        assert s.loaded == ["a", "c"]

    play(scene)


def test_the_place_is_not_reused_before_the_worker_has_exited() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=1)
        (await s.engines.lease("a")).release()
        leaving = s.spawn.engines["a"]
        leaving.exits_at_once = False
        queued = s.ask("b")
        await settle()
        assert [model.phase for model in s.engines.running()] == [Phase.STOPPING]
        leaving.exit(stopped())
        await queued
        assert s.spawn.loads == ["a", "b"]

    play(scene)


def test_nobody_is_sent_to_a_stopping_worker() -> None:
    async def scene() -> None:
        s = Scene(keep_alive_s=10)
        (await s.engines.lease("a")).release()
        leaving = s.spawn.engines["a"]
        leaving.exits_at_once = False
        await s.pass_time(10)
        queued = s.ask("a")
        await settle()
        assert not queued.done()
        leaving.exit(stopped())
        lease = await queued
        assert lease.ready.pid != leaving.pid

    play(scene)


def test_e17_a_hundred_requests_for_three_models_in_one_place_are_all_served_in_turn() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=1)
        served: list[str] = []

        async def use(name: str) -> None:
            async with await s.engines.lease(name):
                await asyncio.sleep(0)
                served.append(name)

        await asyncio.gather(*(use("abc"[n % 3]) for n in range(100)))
        assert len(served) == 100
        assert s.spawn.loads == ["a", "b", "c"]

    play(scene)


def test_a_steady_stream_for_one_model_does_not_starve_another() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=1)
        current = await s.engines.lease("a")
        other = s.ask("b")
        await settle()
        following = s.ask("a")  # would hold `a` for ever if it were served first
        await settle()
        current.release()
        (await other).release()
        await following
        assert s.spawn.loads == ["a", "b", "a"]

    play(scene)


def test_a_model_is_unloaded_when_its_keep_alive_is_over() -> None:
    async def scene() -> None:
        s = Scene(keep_alive_s=300)
        lease = await s.engines.lease("a")
        await s.pass_time(1000)
        assert s.loaded == ["a"]  # in use
        lease.release()
        await s.pass_time(299)
        (model,) = s.engines.running()
        assert (model.idle_s, model.expires_in_s) == (299, 1)
        await s.pass_time(1)
        assert s.loaded == []

    play(scene)


def test_a_timer_looks_by_itself_when_the_keep_alive_is_over() -> None:
    async def scene() -> None:
        s = Scene(keep_alive_s=0.0)
        (await s.engines.lease("a")).release()
        await settle()
        assert s.loaded == []

    play(scene)


def test_a_model_kept_for_ever_is_neither_expired_nor_evicted() -> None:
    async def scene() -> None:
        s = Scene(keep_alive_s=math.inf, max_loaded=1)
        (await s.engines.lease("a")).release()
        await s.pass_time(10**6)
        assert s.loaded == ["a"]
        with pytest.raises(RunnerError, match="kept for ever hold all 1 places") as caught:
            await s.engines.lease("b")
        assert caught.value.kind is Kind.UNAVAILABLE
        assert await s.engines.unload(["a"]) == 1

    play(scene)


def test_a_request_says_how_long_its_model_is_kept_until_another_says_otherwise() -> None:
    async def scene() -> None:
        s = Scene(keep_alive_s=300)
        (await s.engines.lease("a", keep_alive_s=10)).release()
        (await s.engines.lease("a")).release()  # says nothing, and changes nothing
        assert s.engines.running()[0].expires_in_s == 10
        (await s.engines.lease("a", keep_alive_s=math.inf)).release()
        await s.pass_time(10**6)
        assert s.loaded == ["a"]
        (await s.engines.lease("a", keep_alive_s=0)).release()
        await settle()
        assert s.loaded == []
        (await s.engines.lease("a")).release()
        assert s.engines.running()[0].keep_alive_s == 300  # a new stay begins as it is set

    play(scene)


def test_a_keep_alive_that_was_asked_for_while_loading_is_kept() -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        asked = asyncio.create_task(s.engines.lease("a", keep_alive_s=0))
        other = s.ask("a")
        await settle()
        s.spawn.finish("a")
        (await asked).release()
        assert s.loaded == ["a"]  # the other still uses it
        (await other).release()
        await settle()
        assert s.loaded == []

    play(scene)


def test_after_one_crash_the_next_request_is_answered_at_once() -> None:
    async def scene() -> None:
        s = Scene()
        lease = await s.engines.lease("a")
        s.spawn.engines["a"].exit(CRASH)
        lease.release()
        again = await s.engines.lease("a")
        assert s.spawn.loads == ["a", "a"]
        assert again.ready.pid != lease.ready.pid

    play(scene)


def test_e8_a_crash_loop_is_refused_with_its_cause_then_tried_again() -> None:
    async def scene() -> None:
        s = Scene()
        for _ in range(3):
            (await s.engines.lease("a")).release()
            s.spawn.engines["a"].exit(CRASH)
            await settle()
            s.now_s += 1
        with pytest.raises(RunnerError, match="failed 3 times in a row") as caught:
            await s.engines.lease("a")
        assert caught.value.kind is Kind.UNAVAILABLE
        assert "SIGSEGV" in caught.value.message
        assert caught.value.retry_after_s == 1
        s.now_s += 1
        await s.engines.lease("a")

    play(scene)


def test_e8_a_crash_of_one_model_is_not_noticed_by_another() -> None:
    async def scene() -> None:
        s = Scene()
        await s.engines.lease("a")
        other = await s.engines.lease("b")
        s.spawn.engines["a"].exit(CRASH)
        await settle()
        assert s.loaded == ["b"]
        assert s.spawn.engines["b"].is_alive
        other.submit(ASK)

    play(scene)


def test_a_lease_of_a_dead_worker_counts_for_nothing_in_the_next() -> None:
    async def scene() -> None:
        s = Scene()
        stale = await s.engines.lease("a")
        s.spawn.engines["a"].exit(CRASH)
        await s.engines.lease("a")
        stale.release()
        stale.release()
        assert s.engines.running()[0].leases == 1

    play(scene)


@pytest.mark.parametrize(
    "cause",
    [
        RunnerError(Kind.LOAD_FAILED, "out of memory", hint="smaller"),
        RunnerError(Kind.INVALID_MODEL, "no tensors"),
    ],
    ids=lambda cause: str(cause.kind),
)
def test_a_failed_load_is_told_to_all_who_wait_for_it(cause: RunnerError) -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        asked = [s.ask("a") for _ in range(3)]
        await settle()
        s.spawn.fail("a", cause)
        errors = await asyncio.gather(*asked, return_exceptions=True)
        assert errors == [cause] * 3
        assert s.loaded == []

    play(scene)


def test_loads_that_fail_again_and_again_are_held_back_but_bad_files_are_not() -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        for kind in (Kind.INVALID_MODEL,) * 5 + (Kind.LOAD_FAILED,) * 2:
            asked = s.ask("a")
            await settle()
            s.spawn.fail("a", RunnerError(kind, "no"))
            with pytest.raises(RunnerError, match=r"^no$"):
                await asked
        with pytest.raises(RunnerError, match="failed 2 times in a row"):
            await s.engines.lease("a")

    play(scene)


def test_a_fault_of_ours_while_loading_is_an_internal_error_and_no_hang() -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        asked = s.ask("a")
        await settle()
        s.spawn.fail("a", ZeroDivisionError())
        with pytest.raises(RunnerError) as caught:
            await asked
        assert caught.value.kind is Kind.INTERNAL

    play(scene)


NO_MEMORY = RunnerError(Kind.OUT_OF_MEMORY, "not enough memory for the model")
KILLED = explain_exit(-9, stderr=()).error()


@pytest.mark.parametrize("cause", [NO_MEMORY, KILLED], ids=["told", "killed"])
def test_e16_a_load_that_runs_out_of_memory_is_tried_once_more_without_the_idle(
    cause: RunnerError,
) -> None:
    async def scene() -> None:
        s = Scene()
        (await s.engines.lease("a")).release()
        leaving = s.spawn.engines["a"]
        leaving.exits_at_once = False
        s.spawn.at_once = False
        asked = s.ask("b")
        await settle()
        s.spawn.fail("b", cause)
        await settle()
        assert s.spawn.loads == ["a", "b"]  # the memory is not back yet
        leaving.exit(stopped())
        await settle()
        assert s.spawn.loads == ["a", "b", "b"]
        s.spawn.finish("b")
        (await asked).release()
        assert s.loaded == ["b"]

    play(scene)


def test_e16_a_load_that_runs_out_of_memory_twice_is_told_so_and_no_third_time() -> None:
    async def scene() -> None:
        s = Scene()
        (await s.engines.lease("a")).release()
        s.spawn.at_once = False
        asked = s.ask("b")
        for _ in range(2):
            await settle()
            s.spawn.fail("b", NO_MEMORY)
        with pytest.raises(RunnerError) as caught:
            await asked
        assert caught.value is NO_MEMORY
        assert (caught.value.row.status, s.spawn.loads) == (503, ["a", "b", "b"])

    play(scene)


@pytest.mark.parametrize("keep_alive_s", [300.0, math.inf], ids=["busy", "pinned"])
def test_a_load_that_runs_out_of_memory_takes_it_from_nobody_busy_or_pinned(
    keep_alive_s: float,
) -> None:
    async def scene() -> None:
        s = Scene()
        lease = await s.engines.lease("a", keep_alive_s=keep_alive_s)
        if keep_alive_s == math.inf:
            lease.release()
        s.spawn.at_once = False
        asked = s.ask("b")
        await settle()
        s.spawn.fail("b", NO_MEMORY)
        with pytest.raises(RunnerError, match="not enough memory"):
            await asked
        assert (s.loaded, s.spawn.loads) == (["a"], ["a", "b"])

    play(scene)


def test_a_model_too_large_for_the_machine_is_refused_with_the_numbers() -> None:
    async def scene() -> None:
        s = Scene(available_bytes=lambda pids: 400)
        with pytest.raises(RunnerError) as caught:
            await s.engines.lease("a")
        error = caught.value
        assert (error.kind, error.row.status, error.retry_after_s) == (Kind.UNAVAILABLE, 503, 60)
        assert error.message == (
            "a needs 1.07KiB of memory (1000B for weights, 100B for a context of 64 tokens and "
            "0B to compute), and this machine can give 400B"
        )
        assert error.details == {
            "available_bytes": 400,
            "need_bytes": 1100,
            "weights_bytes": 1000,
            "cache_bytes": 100,
            "compute_bytes": 0,
            "context_size": 64,
        }
        assert s.spawn.loads == []

    play(scene)


def test_memory_that_pinned_models_hold_is_refused_with_what_they_leave() -> None:
    async def scene() -> None:
        s = Scene(available_bytes=lambda pids: 400 if list(pids) else 1500)
        (await s.engines.lease("a", keep_alive_s=math.inf)).release()
        with pytest.raises(RunnerError, match="models that are kept for ever leave 400B") as caught:
            await s.engines.lease("b")
        assert caught.value.hint == "unload one of them: runner unload MODEL"
        assert s.loaded == ["a"]

    play(scene)


def test_a_loaded_model_counts_with_what_it_really_holds() -> None:
    async def scene() -> None:
        s = Scene(available_bytes=lambda pids: 600 if list(pids) else 5000)
        (await s.engines.lease("a")).release()
        s.spawn.engines["a"].beat = beat(resident_bytes=400)
        with pytest.raises(RunnerError, match="this machine can give 1000B"):
            await s.engines.lease("b")
        s.spawn.engines["a"].beat = beat(resident_bytes=500)
        (await s.engines.lease("b")).release()
        assert s.loaded == ["b"]

    play(scene)


def test_a_draft_model_needs_memory_of_its_own() -> None:
    async def scene() -> None:
        s = Scene(draft_model="b", available_bytes=lambda pids: 2199)
        with pytest.raises(RunnerError, match=r"a needs 2.15KiB of memory \(1.95KiB for weights"):
            await s.engines.lease("a")

    play(scene)


def test_an_unknown_model_is_the_catalogue_s_error() -> None:
    async def scene() -> None:
        with pytest.raises(RunnerError, match="no model nope"):
            await Scene().engines.lease("nope")

    play(scene)


def test_unload_says_how_many_workers_have_exited() -> None:
    async def scene() -> None:
        s = Scene()
        for name in ("a", "b", "c"):
            (await s.engines.lease(name)).release()
        s.spawn.engines["b"].exits_at_once = False
        unloading = asyncio.create_task(s.engines.unload())
        await settle()
        assert not unloading.done()
        s.spawn.engines["b"].exit(stopped())
        assert await unloading == 3
        assert s.loaded == []

    play(scene)


def test_unload_skips_what_is_in_use_waited_for_or_not_loaded() -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        asked = [s.ask("a"), s.ask("b")]
        await settle()
        s.spawn.finish("a")
        await settle()
        assert await s.engines.unload() == 0
        assert await s.engines.unload(["a", "b", "c", "nope"]) == 0
        assert s.loaded == ["a", "b"]
        s.spawn.finish("b")
        await asyncio.gather(*asked)

    play(scene)


@pytest.mark.parametrize("name", ["a", "ai/a", "docker.io/ai/a:latest", "sha256:", "hex", "short"])
def test_unload_knows_every_name_of_a_model(name: str) -> None:
    async def scene() -> None:
        s = Scene()
        id = s.models.models["a"].id
        written = {"sha256:": str(id), "hex": id.hex, "short": id.short}.get(name, name)
        for each in ("a", "b"):
            (await s.engines.lease(each)).release()
        assert await s.engines.unload([written]) == 1
        assert s.loaded == ["b"]

    play(scene)


def test_unload_knows_what_the_store_finds() -> None:
    async def scene() -> None:
        s = Scene()
        for each in ("a", "b"):
            (await s.engines.lease(each)).release()
        s.models.models["part-of-a"] = s.models.models["a"]  # a name given since, or part of one
        assert await s.engines.unload(["part-of-a", "nobody"]) == 1
        assert s.loaded == ["b"]

    play(scene)


def test_a_full_queue_refuses_with_busy() -> None:
    async def scene() -> None:
        s = Scene(at_once=False, max_waiting=2)
        asked = [s.ask("a"), s.ask("a")]
        await settle()
        with pytest.raises(RunnerError) as caught:
            await s.engines.lease("b")
        assert (caught.value.kind, caught.value.retry_after_s) == (Kind.BUSY, 5)
        s.spawn.finish("a")
        await asyncio.gather(*asked)

    play(scene)


def test_a_wait_for_a_place_has_an_end() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=1)
        await s.engines.lease("a")
        queued = s.ask("b")
        await settle()
        await s.pass_time(300)
        with pytest.raises(RunnerError, match="no place came free for b within 300 s"):
            await queued

    play(scene)


def test_close_ends_everything_and_refuses_the_rest() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=2, at_once=False)
        busy, loading, queued = s.ask("a"), s.ask("b"), s.ask("c")
        await settle()
        s.spawn.finish("a")
        await busy
        await s.engines.close(grace_s=7)
        assert s.spawn.engines["a"].stops == [7]
        assert s.spawn.given_up == ["b"]
        for asked in (loading, queued, s.ask("a")):
            with pytest.raises(RunnerError, match="shutting down"):
                await asked
        assert s.loaded == []

    play(scene)


def test_a_load_that_is_ended_before_its_first_step_is_over_too() -> None:
    async def scene() -> None:
        s = Scene()
        asked = s.ask("a")
        closing = asyncio.create_task(s.engines.close(grace_s=0))
        await asyncio.wait_for(closing, 5)
        with pytest.raises(RunnerError, match="shutting down"):
            await asked
        assert s.spawn.loads == []

    play(scene)


def test_who_queues_for_a_model_in_a_crash_loop_is_told_so_when_its_turn_comes() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=1)
        for _ in range(2):
            current = await s.engines.lease("a")
            other, queued = s.ask("b"), s.ask("a")  # `a` is loaded, so nobody is refused yet
            await settle()
            s.spawn.engines["a"].exit(CRASH)
            current.release()
            (await other).release()
            await asyncio.wait({queued})
            if queued.exception() is None:
                queued.result().release()
        with pytest.raises(RunnerError, match="failed 2 times in a row"):
            await queued

    play(scene)


def test_release_cancels_what_still_runs_on_the_lease() -> None:
    async def scene() -> None:
        s = Scene()
        async with await s.engines.lease("a") as lease:
            lease.submit(ASK)
            lease.submit(ASK)
        assert s.spawn.engines["a"].cancelled == [1, 2]

    play(scene)


def test_what_the_package_brings_fills_what_the_user_left_open() -> None:
    async def scene() -> None:
        s = Scene()
        s.models.files["a"] = EngineFiles(
            model_path=Path("/models/a"), chat_template="{{ x }}", context_size=2048
        )
        await s.engines.lease("a")
        load = s.spawn.engines["a"].load
        assert (load.model_path, load.library_path) == ("/models/a", "/lib.so")
        assert (load.wishes.context_size, load.wishes.chat_template) == (2048, "{{ x }}")

    play(scene)


def test_a_draft_model_is_found_as_any_other_and_named_by_its_file() -> None:
    async def scene() -> None:
        s = Scene(draft_model="b")
        await s.engines.lease("a")
        assert s.spawn.engines["a"].load.wishes.draft_model_path == "/models/b"

    play(scene)


def test_a_draft_model_that_is_not_there_fails_the_load_and_says_which() -> None:
    async def scene() -> None:
        s = Scene(draft_model="nowhere")
        with pytest.raises(RunnerError, match="the draft model nowhere cannot be used") as caught:
            await s.engines.lease("a")
        assert (caught.value.kind, caught.value.hint) == (Kind.LOAD_FAILED, "did you mean a?")

    play(scene)


def test_what_the_user_wishes_rules_over_the_package() -> None:
    async def scene() -> None:
        s = Scene()
        s.wishes = EngineWishes(context_size=512, threads=3)
        s.models.files["a"] = EngineFiles(model_path=Path("/models/a"), context_size=2048)
        await s.engines.lease("a")
        assert s.spawn.engines["a"].load.wishes == EngineWishes(context_size=512, threads=3)

    play(scene)


def test_short_memory_takes_idle_models_down_before_a_load() -> None:
    async def scene() -> None:
        asked_of: list[list[int]] = []

        def available(pids: Iterable[int]) -> int:
            asked_of.append(list(pids))
            return 500 if asked_of[-1] else 5000

        s = Scene(available_bytes=available)
        (await s.engines.lease("a")).release()
        (await s.engines.lease("a")).release()
        await s.engines.lease("b")
        assert s.loaded == ["b"]
        assert asked_of == [[], [1000], []]  # only when someone needs some

    play(scene)


def on_a_gpu(free_bytes: int) -> tuple[Scene, FakeGpu]:
    s = Scene()
    gpu = s.spawn.gpu = FakeGpu(free_bytes, lambda: s.now_s)
    return s, gpu


def test_a_full_gpu_takes_an_idle_model_down_before_a_load_and_no_more_than_it_must() -> None:
    async def scene() -> None:
        s, gpu = on_a_gpu(2500)  # room for two of 1100
        for name in ("a", "b"):
            (await s.engines.lease(name)).release()
            await s.pass_time(1)
        s.spawn.engines["b"].beat = beat(resident_bytes=1, device=gpu.tell())
        await s.pass_time(1)
        # What b told last is older than the end of a.
        (await s.engines.lease("c")).release()
        assert s.spawn.loads == ["a", "b", "c"]
        assert s.loaded == ["b", "c"]
        assert s.spawn.engines["c"].ready.device_bytes == 1100

    play(scene)


def test_what_a_worker_told_last_of_the_gpu_counts() -> None:
    async def scene() -> None:
        s, gpu = on_a_gpu(10_000)
        (await s.engines.lease("a")).release()
        await s.pass_time(5)
        gpu.free_bytes = 100  # others have taken the rest
        s.spawn.engines["a"].beat = beat(resident_bytes=1, device=gpu.tell())
        (await s.engines.lease("b")).release()
        assert s.loaded == ["b"]

    play(scene)


def test_a_gpu_full_of_busy_and_pinned_models_keeps_nobody_waiting() -> None:
    async def scene() -> None:
        s, _ = on_a_gpu(2500)
        await s.engines.lease("a")
        (await s.engines.lease("b", keep_alive_s=math.inf)).release()
        await s.engines.lease("c")
        assert s.loaded == ["a", "b", "c"]
        assert s.spawn.engines["c"].ready.device_bytes == 300  # the rest is on the CPU

    play(scene)


def test_progress_and_waiters_of_a_load_are_shown() -> None:
    async def scene() -> None:
        s = Scene(at_once=False)
        asked = [s.ask("a"), s.ask("a")]
        await settle()
        s.spawn.progress["a"](0.5)
        (model,) = s.engines.running()
        assert (model.phase, model.fraction, model.waiting) == (Phase.LOADING, 0.5, 2)
        assert (model.pid, model.settings, model.idle_s, model.in_use) == (None, None, None, False)
        s.spawn.finish("a")
        await asyncio.gather(*asked)
        (model,) = s.engines.running()
        assert model.pid == 1000
        assert model.settings is not None
        assert model.facts is not None
        assert model.in_use
        assert model.tags == ("docker.io/ai/a:latest",)

    play(scene)


# ---- settings --------------------------------------------------------------------------------


def test_a_model_is_loaded_with_the_settings_of_then_not_of_when_it_was_asked_for() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=1)
        busy = await s.engines.lease("a")
        waiting = s.ask("b")
        await settle()
        s.wishes = EngineWishes(context_size=512)
        await s.engines.refresh("b", load=False)
        busy.release()
        await waiting
        assert s.spawn.engines["b"].load.wishes.context_size == 512
        assert s.spawn.loads == ["a", "b"]

    play(scene)


def test_a_model_that_is_loaded_anew_keeps_its_place() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=1, keep_alive_s=math.inf)
        (await s.engines.lease("a")).release()
        s.spawn.engines["a"].exits_at_once = False
        s.wishes = EngineWishes(context_size=512)
        await s.engines.refresh("a", load=False)
        refused = s.ask("b")  # comes while there is no worker to be seen
        await settle()
        s.spawn.engines["a"].exit(stopped())
        await settle()
        assert s.spawn.loads == ["a", "a"]
        assert s.spawn.engines["a"].load.wishes.context_size == 512
        with pytest.raises(RunnerError, match="kept for ever hold all 1 places"):
            await refused

    play(scene)


def test_a_model_is_not_loaded_anew_while_somebody_waits_for_a_place() -> None:
    async def scene() -> None:
        s = Scene(max_loaded=2)
        other = await s.engines.lease("b")
        (await s.engines.lease("a", keep_alive_s=math.inf)).release()
        waiting = s.ask("c")  # gets b's place
        await settle()
        s.wishes = EngineWishes(context_size=512)
        await s.engines.refresh("a", load=False)
        await settle()
        assert s.spawn.loads == ["b", "a"]
        other.release()
        (await waiting).release()
        await settle()
        assert s.spawn.loads == ["b", "a", "c", "a"]

    play(scene)


def test_a_model_whose_time_is_over_is_unloaded_whatever_was_changed() -> None:
    async def scene() -> None:
        s = Scene(keep_alive_s=300.0)
        lease = await s.engines.lease("a", keep_alive_s=0)
        s.wishes = EngineWishes(context_size=512)
        await s.engines.refresh("a", load=False)
        lease.release()
        await settle()
        assert (s.loaded, s.spawn.loads) == ([], ["a"])
        assert s.spawn.engines["a"].stops == [0]  # once

    play(scene)


def test_what_is_configured_of_a_model_on_its_way_out_loads_it_again() -> None:
    async def scene() -> None:
        s = Scene()
        (await s.engines.lease("a")).release()
        s.spawn.engines["a"].exits_at_once = False
        unloading = asyncio.create_task(s.engines.unload(["a"]))
        await settle()
        s.wishes = EngineWishes(context_size=512)
        await s.engines.refresh("a", load=True)
        s.spawn.engines["a"].exit(stopped())
        assert await unloading == 1
        await settle()
        assert s.spawn.loads == ["a", "a"]
        assert s.spawn.engines["a"].load.wishes.context_size == 512

    play(scene)


def test_settings_that_no_model_can_have_leave_it_as_it_was_loaded() -> None:
    async def scene() -> None:
        s = Scene()
        (await s.engines.lease("a")).release()
        s.draft_model = "missing"
        await s.engines.refresh("a", load=True)
        await settle()
        assert (s.loaded, s.spawn.loads) == (["a"], ["a"])
        with pytest.raises(RunnerError, match="the draft model missing cannot be used"):
            await s.engines.lease("a")

    play(scene)


# ---- tuning ----------------------------------------------------------------------------------

FASTER = TunedSettings(
    flash_attention=True, kv_layout="streams", ubatch_size=256, threads=2, threads_batch=4
)
MEASURED = Measured(
    settings=FASTER,
    rates=Rates(one=2.0, one_deep=1.0, many=4.0, prompt=8.0),
    rows=8,
    depth=600,
)


async def tuned_at_last(s: Scene) -> None:
    """Wait for the threads that write and read files."""
    while (await s.engines.tuned("a")) is None or at_work():
        await asyncio.sleep(0)


def test_without_a_measurement_the_worker_is_to_make_one_and_it_is_used_the_next_time(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        s = Scene(tuning=Tuning(tmp_path, {"cpu": "x"}, after_s=7.0))
        (await s.engines.lease("a")).release()
        first = s.spawn.engines["a"]
        assert (first.load.tuned, first.load.tune_after_s) == (None, 7.0)
        first.report(MEASURED)
        first.report(Tuned(settings=FASTER, gain=1.05, duration_s=3.0))
        await tuned_at_last(s)
        assert s.spawn.loads == ["a"]  # a small gain is not worth the cached prefixes
        await s.engines.unload(["a"])
        (await s.engines.lease("a")).release()
        second = s.spawn.engines["a"]
        assert (second.load.tuned, second.load.tune_after_s) == (FASTER, None)
        record = await s.engines.tuned("a")
        assert record is not None
        assert (record.settings, record.measured, record.gain) == (FASTER, (MEASURED,), 1.05)

    play(scene)


def test_an_idle_model_is_loaded_anew_for_a_clear_gain(tmp_path: Path) -> None:
    async def scene() -> None:
        s = Scene(tuning=Tuning(tmp_path, {}))
        (await s.engines.lease("a")).release()
        s.spawn.engines["a"].report(Tuned(settings=FASTER, gain=1.2))
        while s.spawn.loads != ["a", "a"]:
            await asyncio.sleep(0)
        await settle()
        assert s.spawn.engines["a"].load.tuned == FASTER
        (model,) = s.engines.running()
        assert (model.phase, model.leases) == (Phase.READY, 0)
        await s.engines.close(0)

    play(scene)


def test_a_model_in_use_is_loaded_anew_after_its_last_request(tmp_path: Path) -> None:
    async def scene() -> None:
        s = Scene(tuning=Tuning(tmp_path, {}))
        lease = await s.engines.lease("a")
        s.spawn.engines["a"].report(Tuned(settings=FASTER, gain=1.2))
        await tuned_at_last(s)
        assert s.spawn.loads == ["a"]
        lease.release()
        while s.spawn.loads != ["a", "a"]:
            await asyncio.sleep(0)
        await s.engines.close(0)

    play(scene)


def test_a_search_that_gained_little_does_not_undo_what_was_configured_meanwhile(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        s = Scene(tuning=Tuning(tmp_path, {}))
        lease = await s.engines.lease("a")
        s.wishes = EngineWishes(context_size=512)
        await s.engines.refresh("a", load=False)
        s.spawn.engines["a"].report(Tuned(settings=FASTER, gain=1.01))
        await tuned_at_last(s)
        lease.release()
        while s.spawn.loads != ["a", "a"]:
            await asyncio.sleep(0)
        await s.engines.close(0)

    play(scene)


def test_a_search_without_a_result_or_beside_other_work_is_not_kept(tmp_path: Path) -> None:
    async def scene() -> None:
        s = Scene(tuning=Tuning(tmp_path, {}))
        (await s.engines.lease("a")).release()
        s.spawn.engines["a"].report(Tuned(problem="no memory"))
        s.spawn.engines["a"].report(Tuned(settings=FASTER, gain=2.0, is_disturbed=True))
        await settle()
        assert await s.engines.tuned("a") is None

    play(scene)


def test_with_tuning_off_nothing_is_measured_unasked_or_kept() -> None:
    async def scene() -> None:
        s = Scene()
        (await s.engines.lease("a")).release()
        assert s.spawn.engines["a"].load.tune_after_s is None
        s.spawn.engines["a"].report(Tuned(settings=FASTER, gain=2.0))
        await settle()
        assert s.spawn.loads == ["a"]
        assert await s.engines.tuned("a") is None

    play(scene)


def test_a_lease_hears_its_search_to_the_end_and_leaves_it() -> None:
    async def scene() -> None:
        s = Scene()
        lease = await s.engines.lease("a")
        reports = lease.tune()
        first = asyncio.ensure_future(anext(reports))
        await settle()
        s.spawn.engines["a"].report(MEASURED)
        assert await first == MEASURED
        s.spawn.engines["a"].report(Tuned(settings=FASTER))
        assert [report async for report in reports] == [Tuned(settings=FASTER)]
        assert s.spawn.engines["a"].tuners == []

    play(scene)
