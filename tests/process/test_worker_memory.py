"""A worker where memory is short: it makes do with less, or says that there is not enough."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from runner.errors import Kind, RunnerError
from runner.supervise import Command, Worker, worker_command
from runner.wire.messages import (
    WIRE_VERSION,
    EngineWishes,
    Load,
    Sampling,
    Submit,
    TextPrompt,
)
from runner.worker.footprint import estimate
from runner.worker.model_file import check_model_file
from tests.support.embedded import find_model, require_library

pytestmark = pytest.mark.model

LIMIT_KIB = 1_200_000  # of addresses: the process and the model take less than half of it


def limited() -> Command:
    """A worker that the system gives so many addresses and no more."""
    usual = worker_command(os.environ)
    script = f'ulimit -v {LIMIT_KIB}; exec "$@"'
    return Command(("sh", "-c", script, "sh", *usual.argv), usual.environment)


async def start(wishes: EngineWishes, command: Command) -> Worker:
    load = Load(
        version=WIRE_VERSION, model_path=str(find_model()), library_path=None, wishes=wishes
    )
    return await Worker.start(load, command=command)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(60):
            await scene()

    require_library()
    asyncio.run(whole())


def test_e16_what_is_wished_and_does_not_fit_is_out_of_memory() -> None:
    async def scene() -> None:
        wishes = EngineWishes(context_size=8192, kv_layout="streams", threads=1)  # 1.5 GB of KV
        with pytest.raises(RunnerError, match="not enough memory for the model") as caught:
            await start(wishes, limited())
        assert (caught.value.kind, caught.value.row.status) == (Kind.OUT_OF_MEMORY, 503)
        assert caught.value.hint is not None

    play(scene)


def test_the_context_is_as_large_as_a_limit_allows() -> None:
    async def scene() -> None:
        worker = await start(EngineWishes(threads=1), limited())
        assert 2048 <= worker.ready.settings.context_size < 8192
        await worker.stop(0)

    play(scene)


def test_a_model_takes_about_what_was_estimated() -> None:
    async def scene() -> None:
        wishes = EngineWishes(context_size=1024, threads=1)
        worker = await start(wishes, worker_command(os.environ))
        text = TextPrompt(text="word " * 700)
        async with worker.submit(
            Submit(id=0, prompt=text, sampling=Sampling(), max_tokens=2)
        ) as events:
            assert [event async for event in events]
        while worker.beat is None or not worker.beat.prompt_tokens:
            await asyncio.sleep(0.01)
        held = worker.beat.resident_bytes
        need = estimate(check_model_file(find_model()), wishes)
        assert held / 1.5 < need.total_bytes < held * 1.5
        await worker.stop(0)

    play(scene)
