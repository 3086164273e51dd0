"""Engines over random days: requests, cancels, crashes, settings and loads in any interleaving.

The decisions alone are played through in ``tests/unit/service/test_residency_play.py``; here they
are carried out, by tasks and callbacks that run in whatever order a day brings about.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Kind, RunnerError
from runner.service import EngineLimits, Engines
from runner.service.lease import Lease
from runner.service.options import ModelSettings
from runner.store import StoredModel
from runner.supervise.death import explain_exit, stopped
from runner.wire.messages import EngineWishes, Load
from tests.support.fake_engine import (
    CRASH,
    FakeEngine,
    FakeGpu,
    FakeModels,
    beat,
    estimate,
    stored,
)

NAMES = "abcd"
MEMORY = 4000
SIZES = (500, 900, 1500, 3900)  # of the models; the last fits alone
KEEP_ALIVES = (None, None, 0.0, 5.0, math.inf)
CONTEXTS = (64, 128, 256)
OUT_OF_MEMORY = RunnerError(Kind.OUT_OF_MEMORY, "there is no room")
BAD_FILE = RunnerError(Kind.INVALID_MODEL, "it is damaged")


@dataclass
class Process:
    """A worker as its system sees it: from the call that starts it to its exit."""

    name: str
    load: Load
    ready: asyncio.Future[None]
    engine: FakeEngine | None = None
    leases: set[Lease] = field(default_factory=set)  # that clients hold and have not released


class World:
    """Engines, the processes they start, and clients; what must always hold is checked in both."""

    def __init__(self, places: int, gpu_bytes: int | None) -> None:
        self.places = places
        self.gpu = None if gpu_bytes is None else FakeGpu(gpu_bytes, lambda: self.now_s)
        self.now_s = 1000.0
        self.contexts = dict.fromkeys(NAMES, CONTEXTS[0])
        self.processes: list[Process] = []
        self.asked: list[asyncio.Task[Lease]] = []
        self.chores: list[asyncio.Task[Any]] = []
        self.held: list[Lease] = []
        self.answered = 0
        self.is_closing = False
        self.faults: list[str] = []
        self._pids = count(1)
        self.models = FakeModels(*NAMES)
        for name, size in zip(NAMES, SIZES, strict=True):
            self.models.models[name] = stored(name, size_bytes=size)
        self.engines = Engines(
            self.models,
            self.spawn,
            settings_for=self.settings_for,
            estimate=estimate,
            limits=EngineLimits(max_loaded=places, max_waiting=50, wait_s=60.0),
            available_bytes=self.available_bytes,
            clock=lambda: self.now_s,
        )

    # ---- what engines ask of the world -------------------------------------------------------

    async def settings_for(self, model: StoredModel) -> ModelSettings:
        wishes = EngineWishes(context_size=self.contexts[model.config.architecture])
        return ModelSettings(wishes)

    def available_bytes(self, pids: Iterable[int]) -> int:
        """A load takes its memory when it is over."""
        taken = (p.engine for p in self.processes)
        return MEMORY - sum(_need(engine.load) for engine in taken if engine is not None)

    async def spawn(self, load: Load, on_progress: Callable[[float], None]) -> FakeEngine:
        name = Path(load.model_path).name
        self.check(all(p.name != name for p in self.processes), f"{name} is loaded twice")
        self.check(len(self.processes) < self.places, "more processes than places")
        process = Process(name, load, asyncio.get_running_loop().create_future())
        self.processes.append(process)
        try:
            await process.ready
        except BaseException:
            for _ in range(3):  # it is killed and reaped before its starter is told
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
            self.processes.remove(process)
            raise
        process.engine = engine = FakeEngine(load, next(self._pids))
        engine.exits_at_once = False
        if self.gpu is not None:
            self.gpu.give(engine, _need(load))
        return engine

    # ---- what happens in it ------------------------------------------------------------------

    def do_ask(self, number: int) -> None:
        name, keep_alive_s = NAMES[number % 4], KEEP_ALIVES[number // 4 % 5]
        self.asked.append(asyncio.create_task(self.use(name, keep_alive_s)))

    async def use(self, name: str, keep_alive_s: float | None) -> Lease:
        lease = await self.engines.lease(name, keep_alive_s=keep_alive_s)
        self.held.append(lease)
        process = self.process_of(lease)
        if process is not None:  # else it crashed since
            assert process.engine is not None
            is_leaving = bool(process.engine.stops) and not self.is_closing
            self.check(not is_leaving, f"{process.name} is leased on its way out")
            process.leases.add(lease)
        return lease

    def do_leave(self, number: int) -> None:
        if waiting := [task for task in self.asked if not task.done()]:
            waiting[number % len(waiting)].cancel()

    def do_release(self, number: int) -> None:
        if self.held:
            lease = self.held.pop(number % len(self.held))
            process = self.process_of(lease)
            if process is not None:
                process.leases.discard(lease)
            lease.release()
            if number % 3 == 0:
                lease.release()  # whoever is careful does it twice

    def do_loaded(self, number: int) -> None:
        if process := self.pick(number, self.loading):
            process.ready.set_result(None)

    def do_fail(self, number: int) -> None:
        if process := self.pick(number, self.loading):
            errors = (OUT_OF_MEMORY, BAD_FILE, explain_exit(-9, stderr=()).error(), OSError("no"))
            process.ready.set_exception(errors[number % 4])

    def do_exit(self, number: int) -> None:
        if process := self.pick(number, [p for p in self.loaded if p.engine and p.engine.stops]):
            self.end(process, stopped())

    def do_crash(self, number: int) -> None:
        if process := self.pick(number, self.loaded):
            self.end(process, CRASH)

    def do_unload(self, number: int) -> None:
        names = None if number % 5 == 4 else [NAMES[number % 5]]
        self.chores.append(asyncio.create_task(self.engines.unload(names)))

    def do_configure(self, number: int) -> None:
        name = NAMES[number % 4]
        self.contexts[name] = CONTEXTS[number // 4 % 3]
        refreshing = self.engines.refresh(name, load=number % 2 == 0)
        self.chores.append(asyncio.create_task(refreshing))

    def do_beat(self, number: int) -> None:
        if process := self.pick(number, self.loaded):
            assert process.engine is not None
            process.engine.beat = beat(
                resident_bytes=_need(process.load), device=self.gpu and self.gpu.tell()
            )

    def do_pass(self, number: int) -> None:
        self.now_s += number / 10
        self.engines.tick()

    # ---- how it is looked at -----------------------------------------------------------------

    @property
    def loading(self) -> list[Process]:
        return [p for p in self.processes if p.engine is None and not p.ready.done()]

    @property
    def loaded(self) -> list[Process]:
        return [p for p in self.processes if p.engine is not None]

    def pick(self, number: int, among: list[Process]) -> Process | None:
        return among[number % len(among)] if among else None

    def process_of(self, lease: Lease) -> Process | None:
        pid = lease.ready.pid
        return next((p for p in self.loaded if p.engine and p.engine.pid == pid), None)

    def end(self, process: Process, death: Any) -> None:
        assert process.engine is not None
        self.processes.remove(process)
        process.engine.exit(death)

    def check(self, is_so: bool, what: str) -> None:
        """Note a fault: raised in a task of the engines it could be taken for a failed load."""
        if not is_so:
            self.faults.append(what)

    def look(self) -> None:
        """What holds at any moment."""
        for process in self.loaded:
            assert process.engine is not None
            is_stopped = bool(process.engine.stops) and not self.is_closing
            self.check(not (is_stopped and process.leases), f"{process.name} is stopped in use")
        shown = {model.pid: model for model in self.engines.running() if model.pid is not None}
        for process in self.loaded:
            assert process.engine is not None
            if model := shown.get(process.engine.pid):
                is_granted = model.leases >= len(process.leases)  # one may be on its way
                self.check(is_granted, f"{process.name} has lost a lease")
        self.check(len(shown) <= self.places, "more models than places are shown")
        assert self.faults == []

    async def act(self, verb: str, number: int, turns: int) -> None:
        getattr(self, f"do_{verb}")(number)
        for _ in range(turns):
            await asyncio.sleep(0)
            self.look()

    async def finish(self) -> None:
        """Nobody comes any more; what is there ends in its time, and everybody is answered."""
        for _ in range(12 * len(NAMES)):
            if all(task.done() for task in self.asked) and not self.held:
                break
            await self.go_round()
        waiting = [task for task in self.asked if not task.done()]
        assert waiting == []
        for _ in range(3):  # what was configured meanwhile is loaded
            await self.go_round()
        assert all(model.leases == 0 for model in self.engines.running())
        for process in self.loaded:
            assert process.load.wishes.context_size == self.contexts[process.name]

    async def go_round(self) -> None:
        for verb in ("exit", "loaded", "release"):
            for _ in range(len(self.asked) + self.places):
                await self.act(verb, 0, 12)
        self.now_s += 1.0
        self.engines.tick()

    async def close(self) -> None:
        self.is_closing = True
        closing = asyncio.create_task(self.engines.close(0))
        while not closing.done():
            for verb in ("exit", "loaded"):
                await self.act(verb, 0, 2)
        await closing
        assert self.engines.running() == []
        assert self.processes == []
        await asyncio.gather(*self.asked, *self.chores, return_exceptions=True)
        for task in self.chores:
            assert task.exception() is None, task
        for task in self.asked:
            error = None if task.cancelled() else task.exception()
            assert error is None or isinstance(error, RunnerError), error


def _need(load: Load) -> int:
    size = SIZES[NAMES.index(Path(load.model_path).name)]
    return size + size // 10


RARE = ("leave", "fail", "crash", "unload", "configure", "pass", "beat")
OFTEN = ("ask", "ask", "ask", "loaded", "loaded", "exit", "exit", "release", "release")
ACTIONS = st.tuples(
    st.sampled_from(RARE + OFTEN),
    st.integers(0, 99),
    st.integers(0, 8),
)


@given(
    places=st.integers(1, 3),
    gpu_bytes=st.sampled_from([None, 1000, 2500]),
    actions=st.lists(ACTIONS, min_size=10, max_size=80),
    drains=st.booleans(),
)
def test_whatever_happens_when_models_are_shared_fairly_and_all_are_answered(
    places: int, gpu_bytes: int | None, actions: list[tuple[str, int, int]], drains: bool
) -> None:
    async def day() -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, about: faults.append(about))
        world = World(places, gpu_bytes)
        for verb, number, turns in actions:
            await world.act(verb, number, turns)
        if drains:
            await world.finish()
        await world.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert faults == []

    asyncio.run(day())
