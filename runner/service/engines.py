"""Which models are loaded, and who may use them: carries out what ``residency`` decides.

All state belongs to the event loop and changes only between awaits. After every change
:meth:`Engines.tick` asks for a plan and acts on it; nothing else decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic

from runner.errors import Kind, RunnerError
from runner.service.backoff import Backoff
from runner.service.chores import Chores
from runner.service.lease import Lease, Spawn
from runner.service.loads import Estimate, Loads, Models, called_by
from runner.service.options import ModelSettings
from runner.service.refusals import closing, is_short_of_memory, refused
from runner.service.residency import ModelKey, Phase, plan
from runner.service.resident import Resident, RunningModel, cause_of_end, renewable
from runner.service.room import EngineLimits, Look
from runner.service.searches import Searches
from runner.service.tally import Tally, Unload
from runner.service.tuning import Record, Tuning
from runner.service.waiting import Waiter, Waiting
from runner.store import StoredModel
from runner.wire.messages import MemoryNeed

LOG = logging.getLogger(__name__)


class Engines:
    """Loads models on demand, shares them, and takes idle ones down."""

    def __init__(
        self,
        models: Models,
        spawn: Spawn,
        *,
        settings_for: Callable[[StoredModel], Awaitable[ModelSettings]],
        estimate: Estimate,
        limits: EngineLimits | None = None,
        tally: Tally | None = None,
        tuning: Tuning | None = None,
        library_path: Path | None = None,
        prefixes_path: Path | None = None,
        available_bytes: Callable[[Iterable[int]], int | None] = lambda pids: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``available_bytes`` gets the workers' process ids; ``clock`` tells monotonic seconds.

        Without ``tuning`` nothing is measured unasked, and nothing measured is used.
        """
        self._models = models
        self._spawn = spawn
        self._settings_for = settings_for
        self._limits = limits or EngineLimits()
        self._tally = tally or Tally()
        self._loads = Loads(
            models,
            tuning,
            estimate=estimate,
            library_path=library_path,
            prefixes_path=prefixes_path,
        )
        self._look = Look(self._limits, available_bytes)
        self._clock = clock
        self._residents: dict[ModelKey, Resident] = {}
        self._queue = Waiting(self._limits.max_waiting)
        self._squeezed: set[ModelKey] = set()  # whose last load ran out of memory
        self._backoff = Backoff()
        self._chores = Chores()
        self._searches = Searches(tuning, self._chores)
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def lease(self, name: str, *, keep_alive_s: float | None = None) -> Lease:
        """Wait until ``name`` is loaded and lease it.

        With ``keep_alive_s`` the model is kept so long after its last use, from this lease on until
        another asks otherwise: 0 unloads it when it falls idle, math.inf keeps it until it is
        unloaded by name. None changes nothing.

        Raises RunnerError: MODEL_NOT_FOUND or INVALID_REFERENCE from the catalogue; LOAD_FAILED,
        INVALID_MODEL, OUT_OF_MEMORY, TIMEOUT or ENGINE_CRASHED from the load; UNAVAILABLE
        (``retry_after_s``) in a crash loop, while shutting down, when pinned models hold every
        place, or with numbers in ``details`` when the memory is not there; BUSY
        (``retry_after_s``) when too many wait or no place came free in time.

        Cancelling the caller leaves the queue; a load goes on for those who still wait.
        """
        model = await self._models.obtain(name)
        settings = await self._settings_for(model)
        need = await self._loads.need(model, settings)
        waiter = self._enqueue(name, model, settings, need, keep_alive_s)
        self.tick()
        try:
            return await waiter.lease
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def running(self) -> list[RunningModel]:
        """List resident models, in the order they were loaded."""
        waiting = self._queue.counts()
        now_s = self._clock()
        return [
            resident.show(waiting=waiting[key], now_s=now_s)
            for key, resident in self._residents.items()
        ]

    @property
    def waiting_for_room(self) -> int:
        """Count the requests whose model is not in memory, nor being loaded."""
        waiting = self._queue.counts()
        return sum(count for key, count in waiting.items() if key not in self._residents)

    async def unload(self, names: Sequence[str] | None = None) -> int:
        """Unload the named models, or all with None; return how many workers have exited.

        A name is whatever finds a stored model, or what the loading request wrote. Models in use
        or waited for are skipped, as are names that are not loaded. Raises
        RunnerError(INVALID_REFERENCE).
        """
        called = None if names is None else await called_by(self._models, names)
        wanted = self._queue.counts()
        idle = [
            resident
            for resident in self._residents.values()
            if not (resident.leases or resident.key in wanted or resident.is_stopping)
            and (called is None or resident.answers_to(called))
        ]
        for resident in idle:
            self._stop(resident, Unload.ASKED)
        for resident in idle:
            await resident.gone.wait()
        return len(idle)

    async def refresh(self, name: str, *, load: bool) -> None:
        """Have a loaded model go by its settings of now; ``load`` one that is not loaded.

        What must be loaded anew for that is, as soon as nobody uses it. All in the background; a
        name that no model has is passed over.
        """
        try:
            model = await self._models.resolve(name)
        except RunnerError as error:
            if error.kind is not Kind.MODEL_NOT_FOUND:
                raise
            return
        resident = self._residents.get(ModelKey(str(model.id)))
        if resident is None or resident.phase is Phase.STOPPING:
            if load and not self._is_closed:
                self._chores.do(_let_go(name, self.lease(name)))
            return
        try:
            need = await self._loads.need(model, await self._settings_for(model))
        except RunnerError as error:
            LOG.warning("%s stays as it was loaded: %s", name, error)
            return
        resident.take(await self._settings_for(model), need)  # of now: changes may cross
        self.tick()

    async def close(self, grace_s: float) -> None:
        """Refuse new leases, let workers finish for ``grace_s`` seconds, end and reap them all."""
        self._is_closed = True
        self._queue.refuse(closing())
        residents = list(self._residents.values())
        for resident in residents:
            if not resident.is_stopping:
                self._stop(resident, Unload.SHUTDOWN, grace_s=grace_s)
        for resident in residents:
            await resident.gone.wait()
        await self._chores.finish()
        self._set_timer(None)

    def tick(self) -> None:
        """Act on what time and events have changed. Called after every event and by a timer."""
        if self._is_closed:
            return
        now_s = self._clock()
        for waiter in self._queue.cancelled():
            self._forget(waiter)  # it shall cause nothing more
        tickets = self._queue.tickets()
        self._squeezed.intersection_update(ticket.key for ticket in tickets)
        stays = [resident.stay for resident in self._residents.values()]
        is_asked = any(ticket.key not in self._residents for ticket in tickets)
        room = self._look.room(self._residents.values(), is_asked=is_asked, squeezed=self._squeezed)
        todo = plan(stays, tickets, room=room, now_s=now_s)
        for ticket_id in todo.grant:
            waiter = self._queue[ticket_id]
            self._queue.answer(waiter, self._grant(waiter, now_s))
        for ticket_id, reason in todo.refuse:
            waiter = self._queue[ticket_id]
            error = refused(reason, waiter.name, waiter.need, room=room, stays=stays)
            self._queue.answer(waiter, error)
        for resident in renewable(self._residents.values(), tickets):
            if resident.key not in todo.evict:
                self._renew(resident)
        for key in todo.evict:
            resident = self._residents[key]
            self._stop(resident, Unload.IDLE if resident.is_due(now_s) else Unload.ROOM)
        for key in todo.load:
            self._load(key, now_s)
        self._set_timer(None if todo.wake_s is None else todo.wake_s - now_s)

    # ---- the queue ---------------------------------------------------------------------------

    def _enqueue(
        self,
        name: str,
        model: StoredModel,
        settings: ModelSettings,
        need: MemoryNeed,
        keep_alive_s: float | None,
    ) -> Waiter:
        if self._is_closed:
            raise closing()
        key, now_s = ModelKey(str(model.id)), self._clock()
        error = self._backoff.refusal(key, name=name, now_s=now_s)
        if error is not None and key not in self._residents:
            raise error
        return self._queue.enter(
            name, model, settings=settings, need=need, keep_alive_s=keep_alive_s, now_s=now_s
        )

    def _leave(self, waiter: Waiter) -> None:
        """Forget a waiter whose caller was cancelled, perhaps after it was answered."""
        self._forget(waiter)
        answer = waiter.lease
        if answer.done() and not answer.cancelled() and answer.exception() is None:
            answer.result().release()
        self.tick()

    def _forget(self, waiter: Waiter) -> None:
        was_queued = self._queue.forget(waiter)
        resident = self._residents.get(waiter.ticket.key)
        if was_queued and resident is not None:
            resident.used_s = self._clock()  # it was wanted until now

    # ---- residents ---------------------------------------------------------------------------

    def _grant(self, waiter: Waiter, now_s: float) -> Lease:
        resident = self._residents[waiter.ticket.key]
        resident.tally.model_wait_s.add(now_s - waiter.ticket.since_s)

        def release(lease: Lease) -> None:
            resident.leases.discard(lease)
            resident.used_s = self._clock()
            self.tick()

        return resident.grant(keep_alive_s=waiter.keep_alive_s, now_s=now_s, on_release=release)

    def _load(self, key: ModelKey, now_s: float) -> None:
        """Begin a stay for the first who waits."""
        waiter = self._queue.first(key)
        error = self._backoff.refusal(key, name=waiter.name, now_s=now_s)
        if error is not None:
            self._queue.refuse(error, key)
            return
        resident = Resident(
            waiter.name,
            waiter.model,
            settings=waiter.settings,
            need=waiter.need,
            tally=self._tally.of(waiter.model),
            now_s=now_s,
        )
        self._residents[key] = resident
        resident.life = asyncio.create_task(self._live(resident), name=f"model {waiter.name}")
        # A callback, for a task that is cancelled before its first step never runs at all.
        resident.life.add_done_callback(partial(self._bury, resident))

    async def _live(self, resident: Resident) -> RunnerError | None:
        """Load and wait for the end; return its cause when nobody asked for it."""
        settings = await self._settings_for(resident.model)  # changed, perhaps, while it waited
        resident.begin(settings)
        resident.need = await self._loads.need(resident.model, settings)
        load = await self._loads.describe(resident.model, settings)
        engine = await self._spawn(load, resident.progressed)
        engine.on_tuning = self._searches.listener(
            resident.key, load.wishes, partial(self._outdate, resident)
        )
        resident.loaded(engine, now_s=self._clock())
        self.tick()
        death = await engine.wait()
        return None if death.expected or resident.is_stopping else death.error()

    # ---- tuning ------------------------------------------------------------------------------

    async def tuned(self, name: str) -> Record | None:
        """Return what was measured of a model here, with the wishes of today; None: nothing."""
        model = await self._models.obtain(name)
        return await self._loads.tuned(model, await self._settings_for(model))

    def _outdate(self, resident: Resident) -> None:
        resident.is_outdated = True
        self.tick()

    def _renew(self, resident: Resident) -> None:
        """Load an idle model anew, with the settings of now, before others who come from now on."""
        LOG.info("loading %s anew, with other settings", resident.name)
        try:
            waiter = self._enqueue(
                resident.name,
                resident.model,
                resident.settings,
                resident.need,
                resident.keep_alive_s,
            )
        except RunnerError as error:
            LOG.warning("%s stays as it was loaded: %s", resident.name, error)
            return
        self._stop(resident, Unload.SETTINGS)
        self._chores.do(_let_go(resident.name, waiter.lease))

    def _stop(self, resident: Resident, why: Unload, *, grace_s: float = 0) -> None:
        resident.is_stopping, resident.why = True, why
        if resident.engine is not None:
            self._chores.do(resident.engine.stop(grace_s))
        elif resident.life is not None:
            resident.life.cancel()

    def _bury(self, resident: Resident, life: asyncio.Task[RunnerError | None]) -> None:
        del self._residents[resident.key]
        self._look.gone(resident, now_s=self._clock())
        resident.gone.set()
        error = cause_of_end(resident, life)
        resident.ended(error)
        if error is not None and not self._squeeze(resident, error):
            now_s = self._clock()
            self._backoff.note(resident.key, error, up_s=resident.up_s(now_s), now_s=now_s)
            if resident.loaded_s is None:
                self._queue.refuse(error, resident.key)
        self.tick()

    def _squeeze(self, resident: Resident, error: RunnerError) -> bool:
        """Whether a load is tried once more: it ran out of memory, and others can make room."""
        was_squeezed = resident.key in self._squeezed
        self._squeezed.discard(resident.key)
        if was_squeezed or resident.loaded_s is not None or not is_short_of_memory(error):
            return False
        if not any(other.may_make_room for other in self._residents.values()):
            return False
        LOG.info("loading %s once more, in the place of idle models", resident.name)
        self._squeezed.add(resident.key)
        return True

    def _set_timer(self, delay_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay_s is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, delay_s), self.tick)


async def _let_go(name: str, lease: Awaitable[Lease]) -> None:
    """Wait for a load that no request wants; it is nobody's fault but the log's if it fails."""
    try:
        (await lease).release()
    except RunnerError as error:
        LOG.warning("%s was not loaded: %s", name, error)
