"""Finds what nothing needs, says what deleting it would free, and deletes it.

First a plan, a list of paths; then its account; then the deed. So a dry run and the real one agree.
The caller holds the store's lock.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from runner.errors import RunnerError
from runner.oci import MAX_MANIFEST_BYTES, Digest
from runner.store.claims import SUFFIX, is_held, oldest_claim_s
from runner.store.index import Index
from runner.store.layout import BAD_SUFFIX, Layout
from runner.store.loans import drop_loan
from runner.store.pins import read_pins

GRACE_S = 3600.0  # younger things may belong to a writer that works now
UNFINISHED_GRACE_S = 7 * 24 * 3600.0  # how long a download that nobody resumes is kept

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


def stored_blobs(layout: Layout) -> Iterator[tuple[Digest, Path]]:
    """Yield every blob; a file of another name is not ours, and left alone."""
    for path in sorted(layout.blobs.glob("*/*")):
        try:
            yield Digest(path.parent.name, path.name), path
        except RunnerError:
            continue


def plan_sweep(
    layout: Layout, index: Index, *, before_s: float, unfinished_before_s: float
) -> list[Path]:
    """List what no model of ``index`` needs and is older than ``before_s`` and every claim.

    Downloads that are not finished, and what they pin, must be older than ``unfinished_before_s``.
    """
    claim_s = oldest_claim_s(layout)
    needed = needed_blobs(layout, index)
    ended = list(_ended_transfers(layout, needed, claim_s, min(unfinished_before_s, claim_s)))
    for pin in read_pins(layout):
        needed |= frozenset() if pin.path in ended else pin.digests
    unneeded = [path for digest, path in stored_blobs(layout) if digest not in needed]
    unneeded += (path for path in layout.ingest.iterdir() if path.suffix != SUFFIX)
    unneeded += (path for path in layout.linked.iterdir() if not _lent(layout, path).exists())
    doomed = [path for path in unneeded if is_older(path, min(before_s, claim_s))]
    models = {layout.bundle(entry.descriptor.digest) for entry in index.entries}
    bundles = sorted(set(layout.bundles.iterdir()) - models)
    return [*bundles, *doomed, *ended]


def _ended_transfers(
    layout: Layout, needed: Set[Digest], claim_s: float, unfinished_before_s: float
) -> Iterator[Path]:
    """Yield what transfers left that were killed when all was done, or not taken up for long."""
    kept = set[str]()
    for pin in read_pins(layout):
        if pin.begun_s < (claim_s if pin.digests <= needed else unfinished_before_s):
            yield pin.path
        else:
            kept |= {layout.partial(digest).stem for digest in pin.digests}
    for path in sorted(layout.partials.iterdir()):
        algorithm, _, hexadecimal = path.stem.partition("-")
        is_done = (layout.blobs / algorithm / hexadecimal).exists()
        if path.suffix == ".pin" or is_held(path.with_suffix(".journal")):
            continue
        if (is_done and is_older(path, claim_s)) or (
            path.stem not in kept and is_older(path, unfinished_before_s)
        ):
            yield path


def freed_bytes(paths: Iterable[Path]) -> int:
    """Count what deleting ``paths`` gives back: bytes of files that keep no other name."""
    names: Counter[tuple[int, int]] = Counter()
    found = {}
    for path in (file for top in paths for file in (top, *top.rglob("*"))):
        try:
            facts = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(facts.st_mode):
            names[facts.st_dev, facts.st_ino] += 1
            found[facts.st_dev, facts.st_ino] = facts
    return sum(
        real_bytes(facts) for inode, facts in found.items() if names[inode] >= facts.st_nlink
    )


def real_bytes(facts: os.stat_result) -> int:
    """Return what a file takes of its disk: the holes of an unfinished one take nothing."""
    return min(facts.st_size, facts.st_blocks * 512)


def discard(layout: Layout, paths: Iterable[Path]) -> None:
    """Delete files and folders of the store, and the records of blobs among them."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
            continue
        path.unlink(missing_ok=True)
        if path.parent.parent == layout.blobs and path.suffix != BAD_SUFFIX:
            drop_loan(layout, Digest(path.parent.name, path.name))


def _lent(layout: Layout, record: Path) -> Path:
    """Return the blob that a record of ``linked`` is about."""
    return layout.blobs.joinpath(*record.stem.partition("-")[::2])


def is_older(path: Path, before_s: float) -> bool:
    """Compare by the time of last status change: a link keeps its file's old modification time."""
    try:
        return path.lstat().st_ctime < before_s
    except FileNotFoundError:
        return False


def _read_small(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= MAX_MANIFEST_BYTES else b""
    except FileNotFoundError:
        return b""


def _mentioned(raw: bytes) -> set[Digest]:
    return {Digest.parse(match.decode("ascii")) for match in _DIGEST.findall(raw)}
