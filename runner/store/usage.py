"""What the store takes of its disk: real bytes, each counted once however many names they have."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.oci import Digest
from runner.store.index import Index
from runner.store.layout import BAD_SUFFIX, Layout
from runner.store.loans import read_loan
from runner.store.pins import pinned_digests
from runner.store.sweep import needed_blobs, real_bytes, stored_blobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Bytes on disk. ``models``, ``unfinished`` and ``unneeded`` add up to ``total``."""

    models_bytes: int  # what models need, with the store's own records
    shared_bytes: int  # of these, what two or more models have in common
    linked_bytes: int  # of these, what is also a file of the user: deleting frees nothing
    unfinished_bytes: int  # downloads that go on, or can be taken up again
    unneeded_bytes: int  # what no model needs: ``prune`` gives it back

    @property
    def total_bytes(self) -> int:
        """All files of the store."""
        return self.models_bytes + self.unfinished_bytes + self.unneeded_bytes


@dataclass(slots=True)
class _File:
    """One file, found under one or more names."""

    bytes: int
    links: int  # names it has anywhere
    names: int = 0  # names it has in the store


def measure_usage(layout: Layout, index: Index) -> Usage:
    """Measure the store. Files that come and go meanwhile may be missed."""
    files = dict(_files(layout.root))
    wanted = Counter[Digest]()
    for entry in index.entries:
        wanted.update(needed_blobs(layout, Index((entry,))))
    needed = needed_blobs(layout, index)
    pinned = pinned_digests(layout, needed=needed) - needed
    unneeded, shared, linked, unfinished = set(), set(), set(), set()
    for digest, path in stored_blobs(layout):
        key = _key(path)
        if key not in files:
            continue
        if digest in pinned:
            unfinished.add(key)
        elif digest not in needed:
            unneeded.add(key)
        if wanted[digest] > 1:
            shared.add(key)
        if files[key].links > files[key].names and read_loan(layout, digest):
            linked.add(key)
    unneeded |= {_key(path) for path in layout.blobs.glob(f"*/*{BAD_SUFFIX}")} & files.keys()
    for folder in (layout.ingest, layout.partials):
        unfinished |= {_key(path) for path in folder.rglob("*")} & files.keys()

    def total(keys: set[tuple[int, int]]) -> int:
        return sum(files[key].bytes for key in keys)

    return Usage(
        models_bytes=total(files.keys() - unneeded - unfinished),
        shared_bytes=total(shared - unneeded),
        linked_bytes=total(linked - unneeded),
        unfinished_bytes=total(unfinished - unneeded),
        unneeded_bytes=total(unneeded),
    )


def _files(root: Path) -> Iterator[tuple[tuple[int, int], _File]]:
    found: dict[tuple[int, int], _File] = {}
    for path in root.rglob("*"):
        try:
            facts = path.lstat()
        except FileNotFoundError:
            continue  # a temporary file, gone since
        if stat.S_ISREG(facts.st_mode):
            new = _File(real_bytes(facts), facts.st_nlink)
            found.setdefault((facts.st_dev, facts.st_ino), new).names += 1
    yield from found.items()


def _key(path: Path) -> tuple[int, int]:
    try:
        facts: os.stat_result = path.lstat()
    except FileNotFoundError:
        return (0, 0)
    return facts.st_dev, facts.st_ino
