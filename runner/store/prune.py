"""Decides which models to prune, and what goes with them."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.oci import Digest
from runner.store.index import Entry, Index
from runner.store.layout import BAD_SUFFIX, SHARED_PREFIX, Layout
from runner.store.sweep import freed_bytes, plan_sweep
from runner.store.uses import last_used_s

BUILDING_S = 60.0  # far more than linking a bundle's files takes


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneWish:
    """What may go besides what no model needs."""

    unused_before_s: float | None = None  # models last used, or added, before that time since 1970
    untagged: bool = False  # models without a name, as a pull of a moved tag leaves them
    in_use: frozenset[Digest] = frozenset()  # models in memory: they stay


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or in a dry run would be."""

    models: tuple[Entry, ...]
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """An index without the models that go, and the paths that it does not need."""

    index: Index
    doomed: tuple[Path, ...]
    pruned: Pruned


def plan_prune(layout: Layout, index: Index, wish: PruneWish) -> PrunePlan:
    """Plan under the lock; nothing is changed."""
    victims = tuple(choose_models(index, wish, lambda digest: last_used_s(layout, digest)))
    new = index
    for entry in victims:
        new = new.without_model(entry.descriptor.digest)
    # Claims tell who works now, so files need no grace. A young folder may be a bundle being made.
    ever = float("inf")
    found = plan_sweep(layout, new, before_s=ever, unfinished_before_s=ever)
    doomed = [path for path in found if not (_may_be_in_making(layout, path) and _is_young(path))]
    doomed += layout.blobs.glob(f"*/*{BAD_SUFFIX}")
    return PrunePlan(new, tuple(doomed), Pruned(victims, freed_bytes(doomed)))


def choose_models(
    index: Index, wish: PruneWish, used_s: Callable[[Digest], float]
) -> Iterator[Entry]:
    """Choose the models that go. Pure, but for what ``used_s`` looks up."""
    for entry in index.entries:
        digest = entry.descriptor.digest
        if digest in wish.in_use:
            continue
        is_dangling = wish.untagged and not entry.tags
        before_s = wish.unused_before_s
        if is_dangling or (before_s is not None and used_s(digest) < before_s):
            yield entry


def _may_be_in_making(layout: Layout, path: Path) -> bool:
    return path.parent == layout.ingest or path.name.startswith(SHARED_PREFIX)


def _is_young(path: Path) -> bool:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_mtime > time.time() - BUILDING_S
