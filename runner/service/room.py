"""What there is to share among models: places, memory, and what is free on the GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from runner.service.lease import Engine
from runner.service.residency import ModelKey, Room
from runner.service.resident import Resident
from runner.wire.messages import DeviceMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """How many models and how many waiters there may be. Times in seconds."""

    max_loaded: int = 4
    max_waiting: int = 1024  # requests without a model, over all models
    wait_s: float = 300.0  # for a place; a load that has begun has limits of its own
    linger_s: float = 5.0  # how long a load goes on that nobody waits for any more


@dataclass(slots=True)
class Devices:
    """What is free on the GPUs: as a worker told last, and what has come free since. Pure."""

    _freed: list[DeviceMemory] = field(default_factory=list)  # by workers that are gone, and when

    def freed(self, free_bytes: int, *, at_s: float) -> None:
        """Note what a worker has given back; no other may tell of it for seconds."""
        if free_bytes:
            self._freed.append(DeviceMemory(free_bytes=free_bytes, at_s=at_s))

    def free_bytes(self, told: Iterable[DeviceMemory]) -> int | None:
        """Count what is free; None where no worker tells: there is no GPU, or no worker."""
        last = max(told, key=lambda memory: memory.at_s, default=None)
        if last is None:
            self._freed.clear()
            return None
        self._freed = [memory for memory in self._freed if memory.at_s > last.at_s]
        return last.free_bytes + sum(memory.free_bytes for memory in self._freed)


class Look:
    """Sees what there is, for one plan at a time."""

    def __init__(
        self, limits: EngineLimits, available_bytes: Callable[[Iterable[int]], int | None]
    ) -> None:
        """``available_bytes`` gets the workers' process ids."""
        self._limits = limits
        self._available_bytes = available_bytes
        self._devices = Devices()

    def room(
        self, residents: Iterable[Resident], *, is_asked: bool, squeezed: Iterable[ModelKey]
    ) -> Room:
        """Tell what there is; of memory only where somebody asks for some."""
        engines = [each.engine for each in residents if each.engine is not None]
        told = chain.from_iterable(reports(engine) for engine in engines) if is_asked else ()
        return Room(
            max_loaded=self._limits.max_loaded,
            available_bytes=self._available_bytes(engine.pid for engine in engines)
            if is_asked
            else None,
            device_free_bytes=self._devices.free_bytes(told) if is_asked else None,
            wait_s=self._limits.wait_s,
            linger_s=self._limits.linger_s,
            squeezed=frozenset(squeezed),
        )

    def gone(self, resident: Resident, *, now_s: float) -> None:
        """Note that a worker has exited."""
        if resident.engine is not None:
            self._devices.freed(resident.engine.ready.device_bytes, at_s=now_s)


def reports(engine: Engine) -> Iterator[DeviceMemory]:
    """Yield what a worker told of the GPU's memory: at its load, and last."""
    for message in (engine.ready, engine.beat):
        if message is not None and message.device is not None:
            yield message.device
