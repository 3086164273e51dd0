"""Keeping the store in order: measuring, checking, pruning, emptying it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from runner.oci import Digest
from runner.store.check import Checkup, OnProgress, check_store
from runner.store.claims import check_unclaimed
from runner.store.faults import storage_errors
from runner.store.index import Index
from runner.store.indexfile import IndexFile
from runner.store.prune import Pruned, PruneWish, plan_prune
from runner.store.sweep import GRACE_S, UNFINISHED_GRACE_S, discard, freed_bytes, plan_sweep
from runner.store.usage import Usage, measure_usage


class Upkeep:
    """The chores of one store. Methods block, and raise what :class:`~runner.store.Store`'s do."""

    def __init__(self, index: IndexFile, *, elsewhere: Callable[[Digest], Iterable[Path]]) -> None:
        """``elsewhere`` names files of other stores that have a blob."""
        self._layout = index.layout
        self._index = index
        self._elsewhere = elsewhere

    def usage(self) -> Usage:
        """Measure what the store takes of its disk."""
        with storage_errors("measuring the store", self._layout.root):
            return measure_usage(self._layout, self._index.read())

    def check(self, *, repair: bool = False, on_progress: OnProgress | None = None) -> Checkup:
        """Hash every blob. With ``repair``, set damaged ones aside and restore what can be.

        ``on_progress`` is called from this thread; what it raises ends the check.
        """
        if repair:
            self._index.check_writable()
        with storage_errors("checking the store", self._layout.root):
            return check_store(
                self._layout,
                self._index,
                repair=repair,
                elsewhere=self._elsewhere,
                on_progress=on_progress or (lambda done, total: None),
            )

    def prune(self, wish: PruneWish, *, is_dry_run: bool = False) -> Pruned:
        """Remove what no model needs, unfinished downloads, and the models that ``wish`` names."""
        with storage_errors("pruning", self._layout.root), self._index.changing() as draft:
            plan = plan_prune(self._layout, draft.index, wish)
            if not is_dry_run:
                draft.save(plan.index)
                discard(self._layout, plan.doomed)
            return plan.pruned

    def purge(self) -> int:
        """Remove all models and all else in the store; return the bytes that came free.

        The folder itself stays: it may be a mount point. Raises RunnerError(BUSY) while a model
        is being added.
        """
        with storage_errors("purging", self._layout.root), self._index.changing() as draft:
            check_unclaimed(self._layout, "removing everything")
            draft.save(Index())
            plan = plan_prune(self._layout, draft.index, PruneWish())
            discard(self._layout, plan.doomed)
            return plan.pruned.freed_bytes

    def sweep(self, *, grace_s: float = GRACE_S) -> int:
        """Remove leftovers of crashes older than ``grace_s``; return the bytes that came free.

        Downloads that can be taken up again stay for a week.
        """
        with storage_errors("cleaning up", self._layout.root), self._index.changing() as draft:
            doomed = plan_sweep(
                self._layout,
                draft.index,
                before_s=time.time() - grace_s,
                unfinished_before_s=time.time() - UNFINISHED_GRACE_S,
            )
            freed = freed_bytes(doomed)
            discard(self._layout, doomed)
            return freed
