"""The store's chores, for asyncio callers: each in a thread, the long ones stoppable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference
from runner.store import Checkup, Pruned, PruneWish, Store, StoredModel, Usage, remember_store
from runner.transfer.foreign import Foreign, Program, import_model, list_foreign
from runner.transfer.progress import Event, LayerProgress, Planned

T = TypeVar("T")
OnProgress = Callable[[int, int], None]  # bytes done, bytes to do; called in the event loop


class Upkeep:
    """Measuring, checking, pruning, emptying. Every method may raise the store's RunnerErrors."""

    def __init__(self, store: Store, *, memory: Path | None = None) -> None:
        """``memory`` is the file that tells the next start where the store is; None: no file."""
        self._store = store
        self._memory = memory

    async def usage(self) -> Usage:
        """Measure what the store takes of its disk."""
        return await asyncio.to_thread(self._store.upkeep.usage)

    async def prune(self, wish: PruneWish, *, is_dry_run: bool) -> Pruned:
        """Remove what no model needs, and the models that are wished away."""
        return await asyncio.to_thread(self._store.upkeep.prune, wish, is_dry_run=is_dry_run)

    async def purge(self) -> int:
        """Remove all models; return the bytes that came free. Those in memory run on."""
        return await asyncio.to_thread(self._store.upkeep.purge)

    async def check(self, *, repair: bool, on_progress: OnProgress) -> Checkup:
        """Hash every blob, and repair if asked. Ends soon after its caller is cancelled."""

        def check(tell: OnProgress) -> Checkup:
            return self._store.upkeep.check(repair=repair, on_progress=tell)

        return await _watched(check, on_progress)

    async def list_foreign(self, program: Program, folder: Path) -> list[Foreign]:
        """List what another program keeps in a folder of this machine."""
        return await asyncio.to_thread(list_foreign, program, folder)

    async def import_model(
        self, found: Foreign, name: Reference | None, *, on_progress: OnProgress
    ) -> StoredModel:
        """Take a model over from another program, under ``name`` or its own names."""

        def take(tell: OnProgress) -> StoredModel:
            return import_model(self._store, found, name, listen=_Sum(tell))

        return await _watched(take, on_progress)

    async def move(self, target: Path, *, on_progress: OnProgress) -> bool:
        """Move the store; return whether the next start will find it there by itself."""
        memory, source = self._memory, self._store.path

        def remember() -> None:
            if memory is not None:
                remember_store(memory, target=target, source=source)

        def move(tell: OnProgress) -> None:
            self._store.move(target, on_start=remember, on_progress=tell)

        await _watched(move, on_progress)
        return memory is not None


class _Sum:
    """Adds up the progress of layers."""

    def __init__(self, tell: OnProgress) -> None:
        self._tell = tell
        self._layers: dict[Digest, LayerProgress] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Planned():
                self._layers |= {layer.digest: layer for layer in event.layers}
            case LayerProgress():
                self._layers[event.digest] = event
            case _:
                return
        layers = self._layers.values()
        self._tell(sum(x.done_bytes for x in layers), sum(x.size_bytes for x in layers))


async def _watched(work: Callable[[OnProgress], T], on_progress: OnProgress) -> T:
    """Run ``work`` in a thread; when we are cancelled, its next report of progress ends it."""
    loop, is_left = asyncio.get_running_loop(), threading.Event()

    def tell(done_bytes: int, total_bytes: int) -> None:
        if is_left.is_set():
            raise RunnerError(Kind.CANCELLED, "nobody waits for it any more")
        loop.call_soon_threadsafe(on_progress, done_bytes, total_bytes)

    working = asyncio.create_task(asyncio.to_thread(work, tell))
    try:
        return await asyncio.shield(working)
    finally:
        is_left.set()
        await asyncio.wait([working])
