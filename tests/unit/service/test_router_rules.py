"""The scheduling rules of llama.cpp's router, one by one, on engines that do what the test says.

They are those of ``tools/server/tests/unit/test_router.py``, each under its name there; on real
models they are in ``tests/e2e/test_residency.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from runner.service import EngineLimits, Engines
from runner.service.lease import Lease
from tests.support.fake_engine import FakeModels, FakeSpawn, as_usual, estimate


class Router:
    """Models a, b and c in so many places; a is loaded."""

    def __init__(self, places: int) -> None:
        self.spawn = FakeSpawn()
        limits = EngineLimits(max_loaded=places)
        models = FakeModels("a", "b", "c")
        self.engines = Engines(
            models, self.spawn, settings_for=as_usual, estimate=estimate, limits=limits
        )
        self.served: list[str] = []

    def ask(self, name: str) -> asyncio.Task[None]:
        """Use a model for a moment, as soon as it is there."""

        async def use() -> None:
            async with await self.engines.lease(name):
                self.served.append(name)

        return asyncio.create_task(use())

    async def take(self, name: str) -> Lease:
        """Keep a model busy."""
        return await self.engines.lease(name)

    @property
    def loaded(self) -> list[str]:
        return [model.name for model in self.engines.running()]


def play(places: int, scene: Callable[[Router], Awaitable[None]]) -> None:
    async def whole() -> None:
        router = Router(places)
        async with asyncio.timeout(10):
            await scene(router)
            await router.engines.close(0)

    asyncio.run(whole())


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_models_max_evicts_lru() -> None:
    async def scene(router: Router) -> None:
        for name in "abc":
            await router.ask(name)
        assert router.loaded == ["b", "c"]

    play(2, scene)


def test_queue_does_not_evict_busy_model() -> None:
    async def scene(router: Router) -> None:
        busy = await router.take("a")
        queued = router.ask("b")
        await settle()
        assert (router.loaded, router.spawn.engines["a"].stops) == (["a"], [])
        busy.release()
        await queued
        assert router.loaded == ["b"]

    play(1, scene)


def test_queue_coalesces_requests_for_same_model() -> None:
    async def scene(router: Router) -> None:
        busy = await router.take("a")
        await router.ask("b")
        waiters = [router.ask("c") for _ in range(3)]
        await asyncio.gather(*waiters)
        busy.release()
        await settle()
        assert router.loaded == ["a", "c"]  # b alone was given up
        assert router.spawn.loads == ["a", "b", "c"]

    play(2, scene)


def test_queue_client_disconnect_keeps_model() -> None:
    async def scene(router: Router) -> None:
        busy = await router.take("a")
        queued = router.ask("b")
        await settle()
        queued.cancel()
        await settle()
        busy.release()
        await settle()
        assert router.loaded == ["a"]
        assert router.spawn.loads == ["a"]

    play(1, scene)


def test_queue_is_fifo() -> None:
    async def scene(router: Router) -> None:
        busy = await router.take("a")
        waiters = [router.ask(name) for name in "bc"]
        await settle()
        assert router.engines.waiting_for_room == 2
        busy.release()
        await asyncio.gather(*waiters)
        assert router.served == ["b", "c"]

    play(1, scene)


def test_queue_two_waiters_share_one_eviction() -> None:
    async def scene(router: Router) -> None:
        await router.ask("a")
        await asyncio.gather(router.ask("b"), router.ask("c"))
        assert router.served == ["a", "b", "c"]
        assert router.spawn.loads == ["a", "b", "c"]
        assert router.loaded == ["c"]

    play(1, scene)


def test_a_model_that_has_just_loaded_is_not_evicted_before_its_waiter_is_served() -> None:
    async def scene(router: Router) -> None:
        busy = await router.take("a")
        first, second = router.ask("b"), router.ask("c")
        await settle()
        busy.release()
        await asyncio.gather(first, second)
        assert router.spawn.loads == ["a", "b", "c"]  # b once: its waiter had it before c came in

    play(1, scene)


def test_nobody_is_sent_into_a_stopping_child() -> None:
    async def scene(router: Router) -> None:
        await router.ask("a")
        leaving = router.spawn.engines["a"]
        leaving.exits_at_once = False
        unloading = asyncio.create_task(router.engines.unload(["a"]))
        await settle()
        late = router.ask("a")
        await settle()
        assert router.served == ["a"]
        leaving.exit()
        await asyncio.gather(unloading, late)
        assert router.spawn.loads == ["a", "a"]
        assert router.spawn.engines["a"] is not leaving

    play(1, scene)
