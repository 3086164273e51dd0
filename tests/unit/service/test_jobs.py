"""Jobs: who shares one, who ends one, and what is told to whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.service.jobs import MAX_NOTES, Board, Jobs, Watch
from runner.transfer.progress import Event, IsCancelled, LayerProgress, Listen, Note, Planned

A, B = Digest.of(b"a"), Digest.of(b"b")


def layer(digest: Digest, done_bytes: int) -> LayerProgress:
    return LayerProgress(digest, 10, done_bytes)


class Script:
    """Work that tells and ends when the test says so, and stops when it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.stopped = threading.Event()
        self.runs = 0
        self._steps: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, *, listen: Listen, cancelled: IsCancelled) -> str:
        self.runs += 1
        self.begun.set()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._steps) or cancelled(), timeout=0.01)
                step = self._steps.pop(0) if self._steps else None
            if cancelled():
                self.stopped.set()
                raise RunnerError(Kind.CANCELLED, "told to stop")
            if isinstance(step, Exception):
                raise step
            if isinstance(step, str):
                return step
            if step is not None:
                listen(step)

    def then(self, *steps: Event | str | Exception) -> None:
        with self._changed:
            self._steps += steps
            self._changed.notify()


def play(scene: Callable[[Jobs], Awaitable[None]], *, max_running: int = 2) -> None:
    async def whole() -> None:
        jobs = Jobs(max_running=max_running)
        try:
            async with asyncio.timeout(10):
                await scene(jobs)
        finally:
            await jobs.close()

    asyncio.run(whole())


async def until_told(watch: Watch[Any], event: Event) -> list[Event]:
    """Collect news until ``event`` is among it."""
    seen: list[Event] = []
    while event not in seen:
        seen += await watch.more()
    return seen


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_job_tells_what_happens_and_then_its_result() -> None:
    async def scene(jobs: Jobs) -> None:
        work = Script()
        async with jobs.watch(work, "job", key="x") as watch:
            work.then(Note("chosen"), Planned((layer(A, 0), layer(B, 10))), layer(A, 5), "done")
            seen: list[Event] = []
            while news := await watch.more():
                seen += news
            assert seen[0] == Note("chosen")
            # In one turn or in several, as the work's thread comes along.
            told = [event for event in seen if isinstance(event, LayerProgress)]
            assert set(told[-2:]) == {layer(A, 5), layer(B, 10)}
            assert await watch.result() == "done"

    play(scene)


def test_requests_for_the_same_share_one_job_and_see_the_progress_so_far() -> None:
    async def scene(jobs: Jobs) -> None:
        work, other = Script(), Script()
        async with jobs.watch(work, "job", key="x") as first:
            work.then(Note("chosen"), Planned((layer(A, 0),)), layer(A, 5))
            await until_told(first, layer(A, 5))
            async with jobs.watch(other, "job", key="x") as second:
                assert await second.more() == [Note("chosen"), Planned((layer(A, 0),)), layer(A, 5)]
                work.then("done")
                assert await first.result() == await second.result() == "done"
        assert (work.runs, other.runs) == (1, 0)

    play(scene)


def test_a_shared_failure_is_told_to_everybody() -> None:
    async def scene(jobs: Jobs) -> None:
        work = Script()
        async with (
            jobs.watch(work, "job", key="x") as first,
            jobs.watch(work, "job", key="x") as second,
        ):
            work.then(RunnerError(Kind.DISK_FULL, "full"))
            for watch in (first, second):
                with pytest.raises(RunnerError, match="full") as caught:
                    await watch.result()
                assert caught.value.kind is Kind.DISK_FULL

    play(scene)


def test_e5_a_client_that_leaves_ends_nothing_while_others_wait() -> None:
    async def scene(jobs: Jobs) -> None:
        work = Script()
        async with jobs.watch(work, "job", key="x") as stays:
            async with jobs.watch(work, "job", key="x"):
                await until(work.begun.is_set)
            work.then("done")
            assert await stays.result() == "done"
        assert not work.stopped.is_set()

    play(scene)


def test_e5_the_last_client_to_leave_ends_the_job() -> None:
    async def scene(jobs: Jobs) -> None:
        work = Script()
        async with jobs.watch(work, "job", key="x"):
            await until(work.begun.is_set)
        await until(work.stopped.is_set)

    play(scene)


def test_a_newcomer_does_not_join_a_job_that_is_ending() -> None:
    async def scene(jobs: Jobs) -> None:
        may_stop = threading.Event()
        order: list[str] = []

        def slow(*, listen: Listen, cancelled: IsCancelled) -> str:
            may_stop.wait(5)
            order.append("first ended")
            raise RunnerError(Kind.CANCELLED, "told to stop")

        def again(*, listen: Listen, cancelled: IsCancelled) -> str:
            order.append("second begun")
            return "done"

        async with jobs.watch(slow, "job", key="x"):
            await asyncio.sleep(0.02)
        async with jobs.watch(again, "job", key="x") as watch:
            may_stop.set()
            assert await watch.result() == "done"
        assert order == ["first ended", "second begun"]

    play(scene)


def test_more_jobs_than_places_wait_and_say_so() -> None:
    async def scene(jobs: Jobs) -> None:
        runs, waits, small = Script(), Script(), Script()
        async with jobs.watch(runs, "job", key="x"), jobs.watch(waits, "job", key="y") as watch:
            assert await watch.more() == [Note("Waiting for one of 1 running transfers to end")]
            async with jobs.watch(small, "job", key="z", takes_place=False) as third:
                small.then("small")
                assert await third.result() == "small"
            assert not waits.begun.is_set()
            runs.then("done")
            waits.then("its turn")
            assert await watch.result() == "its turn"

    play(scene, max_running=1)


def test_who_leaves_the_queue_is_never_begun() -> None:
    async def scene(jobs: Jobs) -> None:
        runs, waits = Script(), Script()
        async with jobs.watch(runs, "job", key="x") as watch:
            await until(runs.begun.is_set)
            async with jobs.watch(waits, "job", key="y"):
                pass
            runs.then("done")
            await watch.result()
        assert waits.runs == 0

    play(scene, max_running=1)


def test_a_stop_ends_all_jobs_and_tells_why() -> None:
    async def scene(jobs: Jobs) -> None:
        runs, waits = Script(), Script()
        async with (
            jobs.watch(runs, "job", key="x") as first,
            jobs.watch(waits, "job", key="y") as second,
        ):
            await until(runs.begun.is_set)
            jobs.stop()
            for watch in (first, second):
                with pytest.raises(RunnerError, match="shutting down") as caught:
                    await watch.result()
                assert caught.value.kind is Kind.UNAVAILABLE
        with pytest.raises(RunnerError, match="shutting down"):
            async with jobs.watch(Script(), "job", key="x"):
                pass

    play(scene, max_running=1)


def test_what_nobody_foresaw_is_an_internal_error() -> None:
    async def scene(jobs: Jobs) -> None:
        work = Script()
        async with jobs.watch(work, "job") as watch:
            work.then(ZeroDivisionError("oops"))
            with pytest.raises(RunnerError, match="oops") as caught:
                await watch.result()
        assert caught.value.kind is Kind.INTERNAL

    play(scene)


def test_a_board_keeps_the_latest_of_each_layer_and_the_last_notes() -> None:
    board = Board()
    for i in range(MAX_NOTES + 1):
        board.put(Note(str(i)))
    board.put(Planned((layer(A, 0), layer(B, 10))))
    board.put(layer(A, 3))
    board.put(layer(A, 7))
    events = board.events()
    assert events[:1] == [Note("1")]
    assert events[MAX_NOTES:] == [Planned((layer(A, 0), layer(B, 10))), layer(A, 7), layer(B, 10)]
