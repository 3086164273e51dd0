"""One model's stay in memory, from its load to the exit of its worker."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass

from runner.errors import Kind, RunnerError
from runner.service.lease import Engine, Lease
from runner.service.options import ModelSettings
from runner.service.residency import ModelKey, Phase, Stay, Ticket
from runner.service.tally import ModelTally, Unload
from runner.store import StoredModel
from runner.wire.messages import (
    Beat,
    EngineSettings,
    MemoryNeed,
    ModelFacts,
    Ready,
)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningModel:
    """One resident model, as ``ps`` shows it."""

    name: str  # as the request that loaded it wrote it
    id: str  # "sha256:…": the stored model's digest
    tags: tuple[str, ...]
    phase: Phase
    fraction: float  # share of the load done, 0..1
    leases: int  # requests that hold it now; 0 means idle
    waiting: int  # requests queued for it
    idle_s: float | None  # seconds since its last use; None while in use or loading
    expires_in_s: float | None  # seconds to its unloading; None while in use, loading or kept
    keep_alive_s: float  # math.inf: kept until unloaded by name
    size_bytes: int  # of its files
    pid: int | None  # None until ready
    ready: Ready | None
    beat: Beat | None  # the worker's last numbers; None before the first
    tokens_per_s: float | None  # of the last answer here, in this stay or before; None: none yet

    @property
    def in_use(self) -> bool:
        """Whether a request holds it."""
        return self.leases > 0

    @property
    def settings(self) -> EngineSettings | None:
        """The engine settings in force; None until ready."""
        return self.ready.settings if self.ready else None

    @property
    def facts(self) -> ModelFacts | None:
        """What the loaded model is; None until ready."""
        return self.ready.model if self.ready else None


class Resident:
    """The mutable record of one stay. :class:`~runner.service.engines.Engines` alone changes it."""

    def __init__(
        self,
        name: str,
        model: StoredModel,
        *,
        settings: ModelSettings,
        need: MemoryNeed,
        tally: ModelTally,
        now_s: float,
    ) -> None:
        self.name = name
        self.model = model
        self.need = need
        self.tally = tally
        self.begun_s = now_s
        self.key = ModelKey(str(model.id))
        self.settings = settings
        self.keep_alive_s = settings.keep_alive_s  # or as a request asked since
        self.fraction = 0.0
        self.engine: Engine | None = None
        self.leases: set[Lease] = set()
        self.loaded_s: float | None = None
        self.used_s = now_s
        self.granted_s: float | None = None
        self.is_stopping = False
        self.why: Unload | None = None  # it is being stopped
        self.is_outdated = False  # better settings were found since its load
        self.life: asyncio.Task[RunnerError | None] | None = None  # its load, then its service
        self.gone = asyncio.Event()  # its worker has exited

    @property
    def phase(self) -> Phase:
        """Where it is. A dead worker that was not noticed yet is leaving."""
        if self.is_stopping or (self.engine is not None and not self.engine.is_alive):
            return Phase.STOPPING
        return Phase.LOADING if self.engine is None else Phase.READY

    @property
    def stay(self) -> Stay:
        """What decisions are made from."""
        return Stay(
            key=self.key,
            phase=self.phase,
            leases=len(self.leases),
            need_bytes=self._need_bytes,
            used_s=self.used_s,
            granted_s=self.granted_s,
            keep_alive_s=self.keep_alive_s,
            device_bytes=self.engine.ready.device_bytes if self.engine else self.need.device_bytes,
        )

    @property
    def _need_bytes(self) -> int:
        """What comes free when it goes: what it holds, else what it is estimated to take."""
        beat = self.engine.beat if self.engine else None
        return beat.resident_bytes if beat and beat.resident_bytes else self.need.total_bytes

    def up_s(self, now_s: float) -> float:
        """Say for how long it could be used; 0.0: it never was loaded."""
        return 0.0 if self.loaded_s is None else now_s - self.loaded_s

    def is_due(self, now_s: float) -> bool:
        """Whether it was idle for as long as it is kept."""
        return now_s - self.used_s >= self.keep_alive_s

    @property
    def may_make_room(self) -> bool:
        """Whether it will go, or could."""
        return self.is_stopping or not (self.leases or self.keep_alive_s == math.inf)

    def begin(self, settings: ModelSettings) -> None:
        """Note what it is loaded with."""
        self.settings, self.keep_alive_s = settings, settings.keep_alive_s
        self.is_outdated = False

    def take(self, settings: ModelSettings, need: MemoryNeed) -> None:
        """Go by new settings: at once where they allow that, else when it is loaded anew.

        ``need`` is what it takes with them.
        """
        old, self.settings, self.need = self.settings, settings, need
        if settings.keep_alive_s != old.keep_alive_s:
            self.keep_alive_s = settings.keep_alive_s
        if (settings.wishes, settings.draft_model) != (old.wishes, old.draft_model):
            self.is_outdated = True

    def progressed(self, fraction: float) -> None:
        """Note the share loaded."""
        self.fraction = fraction

    def loaded(self, engine: Engine, *, now_s: float) -> None:
        """Note that it can be used."""
        self.engine = engine
        self.loaded_s = self.used_s = now_s
        self.tally.loads += 1
        self.tally.load_s.add(now_s - self.begun_s)
        LOG.info(
            "loaded %s in process %d, with a context of %d tokens",
            self.name,
            engine.pid,
            engine.ready.settings.context_size,
        )

    def ended(self, error: RunnerError | None) -> None:
        """Count its end; ``error`` is the cause when nobody asked for it."""
        if error is None:
            LOG.info("unloaded %s", self.name)
        else:
            LOG.warning("the engine of %s is gone: %s", self.name, error)
        if self.loaded_s is not None:
            self.tally.unloads[Unload.CRASHED if error else self.why or Unload.SHUTDOWN] += 1
        elif error is not None:
            self.tally.load_failures[error.kind.value] += 1

    def answers_to(self, names: Set[str]) -> bool:
        """Whether a name is a tag of it, its id, or what the loading request wrote."""
        id = self.model.id
        return not names.isdisjoint({self.name, str(id), id.hex, id.short, *self.model.tags})

    def grant(
        self, *, keep_alive_s: float | None, now_s: float, on_release: Callable[[Lease], None]
    ) -> Lease:
        """Lease it; with ``keep_alive_s`` it is kept so long from now on."""
        assert self.engine is not None, "a model is leased before it is loaded"
        if keep_alive_s is not None:
            self.keep_alive_s = keep_alive_s
        lease = Lease(
            self.key,
            self.engine,
            settings=self.settings,
            tally=self.tally,
            on_release=on_release,
        )
        self.leases.add(lease)
        self.granted_s = self.used_s = now_s
        return lease

    def show(self, *, waiting: int, now_s: float) -> RunningModel:
        """Picture it for ``ps``."""
        engine = self.engine
        is_idle = self.phase is Phase.READY and not self.leases
        idle_s = max(0.0, now_s - self.used_s) if is_idle else None
        return RunningModel(
            name=self.name,
            id=self.key,
            tags=self.model.tags,
            phase=self.phase,
            fraction=self.fraction,
            leases=len(self.leases),
            waiting=waiting,
            idle_s=idle_s,
            expires_in_s=self._expires_in_s(idle_s),
            keep_alive_s=self.keep_alive_s,
            size_bytes=self.model.size_bytes,
            pid=engine.pid if engine else None,
            ready=engine.ready if engine else None,
            beat=engine.beat if engine else None,
            tokens_per_s=self.tally.tokens_per_s,
        )

    def _expires_in_s(self, idle_s: float | None) -> float | None:
        if idle_s is None or self.keep_alive_s == math.inf:
            return None
        return max(0.0, self.keep_alive_s - idle_s)


def renewable(residents: Collection[Resident], tickets: Sequence[Ticket]) -> list[Resident]:
    """List the models that are to be loaded anew, and that nobody uses.

    None while somebody waits for a place: it would be lost to him.
    """
    wanted = {ticket.key for ticket in tickets}
    if not wanted <= {resident.key for resident in residents}:
        return []
    return [
        resident
        for resident in residents
        if resident.is_outdated
        and resident.phase is Phase.READY
        and not (resident.leases or resident.key in wanted)
    ]


def cause_of_end(resident: Resident, life: asyncio.Task[RunnerError | None]) -> RunnerError | None:
    """Tell why a stay ended; None when we ended it."""
    if life.cancelled():
        return None
    fault = life.exception()
    if fault is None:
        return life.result()
    if isinstance(fault, RunnerError):
        return fault
    LOG.error("the load of %s failed by a fault of ours", resident.name, exc_info=fault)
    return RunnerError(Kind.INTERNAL, f"loading {resident.name} failed; see the log")
