"""Removes what nothing needs: blobs without a model, bundles, records, old temporary files.

The caller holds the store's lock.
"""

from __future__ import annotations

import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.errors import RunnerError
from runner.oci import MAX_MANIFEST_BYTES, Digest
from runner.store.index import Index
from runner.store.layout import Layout
from runner.store.loans import drop_loan

GRACE_S = 3600.0  # younger things may belong to a writer that works now

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def needed_blobs(layout: Layout, index: Index) -> set[Digest]:
    """Return all digests that the index leads to.

    Follows every digest that a small blob mentions, so it needs to understand no document, and
    keeps what other tools stored beside our models.
    """
    found: set[Digest] = set()
    waiting = _mentioned(index.render())
    while waiting:
        digest = waiting.pop()
        if digest not in found:
            found.add(digest)
            waiting |= _mentioned(_read_small(layout.blob(digest)))
    return found


def delete_blobs(layout: Layout, digests: Iterable[Digest]) -> int:
    """Delete blobs and their records; return the bytes of the files that had no other name."""
    freed = 0
    for digest in digests:
        path = layout.blob(digest)
        try:
            facts = path.lstat()
            path.unlink()
        except FileNotFoundError:
            continue
        freed += facts.st_size if facts.st_nlink == 1 else 0
        drop_loan(layout, digest)
    return freed


def sweep(layout: Layout, index: Index, *, grace_s: float = GRACE_S) -> int:
    """Remove leftovers older than ``grace_s``; return the bytes that came free."""
    before_s = time.time() - grace_s
    models = {layout.bundle(entry.descriptor.digest) for entry in index.entries}
    for folder in set(layout.bundles.iterdir()) - models:
        shutil.rmtree(folder, ignore_errors=True)
    needed = needed_blobs(layout, index)
    unneeded = [
        digest
        for digest, path in _stored(layout)
        if digest not in needed and _is_older(path, before_s)
    ]
    freed = delete_blobs(layout, unneeded)
    for path in layout.linked.iterdir():
        algorithm, _, hexadecimal = path.stem.partition("-")
        if not (layout.blobs / algorithm / hexadecimal).exists() and _is_older(path, before_s):
            path.unlink(missing_ok=True)
    for path in layout.ingest.iterdir():
        if _is_older(path, before_s):
            freed += _discard(path)
    return freed


def measure_usage(layout: Layout) -> int:
    """Return the bytes of all files of the store, each once however many names it has."""
    sizes = {}
    for path in layout.root.rglob("*"):
        try:
            facts = path.lstat()
        except FileNotFoundError:
            continue  # a temporary file, gone since
        if stat.S_ISREG(facts.st_mode):
            sizes[facts.st_dev, facts.st_ino] = facts.st_size
    return sum(sizes.values())


def _stored(layout: Layout) -> Iterator[tuple[Digest, Path]]:
    for path in layout.blobs.glob("*/*"):
        try:
            yield Digest(path.parent.name, path.name), path
        except RunnerError:
            continue  # not a blob: somebody else's file


def _is_older(path: Path, before_s: float) -> bool:
    """Compare by the time of last status change: a link keeps its file's old modification time."""
    try:
        return path.lstat().st_ctime < before_s
    except FileNotFoundError:
        return False


def _discard(path: Path) -> int:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return 0
    facts = path.lstat()
    path.unlink(missing_ok=True)
    return facts.st_size if facts.st_nlink == 1 else 0


def _read_small(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= MAX_MANIFEST_BYTES else b""
    except FileNotFoundError:
        return b""


def _mentioned(raw: bytes) -> set[Digest]:
    return {Digest.parse(match.decode("ascii")) for match in _DIGEST.findall(raw)}
