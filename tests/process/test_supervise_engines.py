"""The router over real child processes: crash, restart, unloading, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from runner.errors import Kind
from runner.service import EngineLimits, Engines
from runner.service.lease import Lease
from runner.supervise import Command, Patience, Worker
from runner.wire.messages import Ended, Event, Failed, Sampling, Submit, TextPrompt
from tests.support.fake_engine import FakeModels, as_usual, estimate

ROOT = Path(__file__).parents[2]
FAKE = str(ROOT / "tests" / "support" / "fake_worker.py")
COMMAND = Command((sys.executable, FAKE), {**os.environ, "PYTHONPATH": str(ROOT)})
START = partial(Worker.start, command=COMMAND, patience=Patience(silence_s=20, exit_s=5))


@asynccontextmanager
async def running(*, max_loaded: int = 2) -> AsyncIterator[Engines]:
    engines = Engines(
        FakeModels("a", "b", "c"),
        lambda load, on_progress: START(load, on_progress=on_progress),
        settings_for=as_usual,
        estimate=estimate,
        limits=EngineLimits(max_loaded=max_loaded),
    )
    try:
        yield engines
    finally:
        await engines.close(grace_s=0)
        assert engines.running() == []


async def answer(lease: Lease, text: str) -> list[Event]:
    request = Submit(id=0, prompt=TextPrompt(text=text), sampling=Sampling())
    async with lease.submit(request) as completion:
        return [event async for event in completion]


def in_loop(scene: Callable[[], Awaitable[None]]) -> None:
    before = set(Path("/proc/self/fd").iterdir())

    async def play() -> None:
        await scene()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(play())
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_e8_kill_9_mid_stream_gives_one_error_and_the_next_request_is_answered() -> None:
    async def scene() -> None:
        async with running() as engines:
            bystander = await engines.lease("b")
            held = asyncio.create_task(answer(bystander, "forever"))
            async with await engines.lease("a") as lease:
                stream = asyncio.create_task(answer(lease, "forever"))
                await answer(lease, "tokens 1")
                os.kill(lease.ready.pid, signal.SIGKILL)
                *_, last = await stream
                assert isinstance(last, Failed)
                assert last.kind == Kind.ENGINE_CRASHED
            async with await engines.lease("a") as lease:
                assert isinstance((await answer(lease, "tokens 3"))[-1], Ended)
            assert not held.done()
            bystander.release()
            await held

    in_loop(scene)


def test_unloading_is_over_when_the_process_is_gone() -> None:
    async def scene() -> None:
        async with running() as engines:
            pids = []
            for name in ("a", "b"):
                async with await engines.lease(name) as lease:
                    pids.append(lease.ready.pid)
            assert await engines.unload() == 2
            assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

    in_loop(scene)


def test_e17_eight_clients_of_three_models_in_one_place_are_all_answered() -> None:
    async def scene() -> None:
        async with running(max_loaded=1) as engines:

            async def use(name: str) -> Event:
                async with await engines.lease(name) as lease:
                    return (await answer(lease, "tokens 5"))[-1]

            answers = await asyncio.gather(*(use("abc"[n % 3]) for n in range(8)))
            assert all(isinstance(last, Ended) for last in answers)

    in_loop(scene)


def test_e21_load_and_unload_again_and_again_leaks_nothing() -> None:
    async def scene() -> None:
        async with running() as engines:
            counts = []
            for _ in range(5):
                async with await engines.lease("a") as lease:
                    await answer(lease, "tokens 1")
                assert await engines.unload(["a"]) == 1
                counts.append(len(list(Path("/proc/self/fd").iterdir())))
            assert len(set(counts)) == 1

    in_loop(scene)
