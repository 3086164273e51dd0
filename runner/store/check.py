"""Checks every blob against its digest, restores what can be, and sets damaged ones aside."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci import MAX_MANIFEST_BYTES, Digest, Manifest
from runner.store.blobs import hashes_to, read_blob
from runner.store.claims import claimed
from runner.store.index import Entry, Index
from runner.store.indexfile import IndexFile
from runner.store.ingest import ingest_file
from runner.store.layout import BAD_SUFFIX, Layout
from runner.store.loans import drop_loan, read_loan
from runner.store.source import Identity, OnBytes, measure, open_source
from runner.store.sweep import stored_blobs

OnProgress = Callable[[int, int], None]  # bytes done, bytes to do; what it raises ends the check


class Remedy(StrEnum):
    """What was done about a damaged blob."""

    NONE = "none"  # nothing was asked for
    SET_ASIDE = "set aside"  # kept as ``.bad``, so that adding the model again brings a good one
    RELEASED = "released"  # the link to a file of the user, who has changed it
    RESTORED = "restored"  # from another place that has the right bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """One blob that is not what its name says, or not there."""

    digest: Digest
    problem: str
    models: tuple[str, ...]  # names, or ids, of the models that need it
    remedy: Remedy


@dataclass(frozen=True, slots=True)
class Checkup:
    """What a check found."""

    blobs: int
    bytes: int
    damages: tuple[Damage, ...]


def check_store(
    layout: Layout,
    index: IndexFile,
    *,
    repair: bool,
    elsewhere: Callable[[Digest], Iterable[Path]],
    on_progress: OnProgress,
) -> Checkup:
    """Hash every blob without the lock; with ``repair``, act on each damage under it.

    ``elsewhere`` names files that may hold the right bytes: they are hashed before they are used.
    """
    users = name_users(layout, index.read())
    stored = dict(stored_blobs(layout))
    total_bytes, done_bytes = sum(map(_size_bytes, stored.values())), 0
    damages = []

    def add(size_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += size_bytes
        on_progress(done_bytes, max(done_bytes, total_bytes))

    for digest in (*stored, *(users.keys() - stored.keys())):
        identity, problem = _examine(layout, digest, add)
        if problem is not None:
            remedy = Remedy.NONE
            if repair:
                remedy = _repair(layout, index, digest, identity, elsewhere(digest))
                _drop_bundles(layout, index.read(), users.get(digest, ()))
            damages.append(Damage(digest, problem, users.get(digest, ()), remedy))
    return Checkup(len(stored), total_bytes, tuple(damages))


def name_users(layout: Layout, index: Index) -> Mapping[Digest, tuple[str, ...]]:
    """Say for each blob that a model needs which models these are.

    Of a model whose manifest cannot be read, only the manifest is known.
    """
    users: dict[Digest, tuple[str, ...]] = {}
    for entry in index.entries:
        name = _name(entry)
        for digest in dict.fromkeys(_parts(layout, entry)):
            users[digest] = (*users.get(digest, ()), name)
    return users


def _parts(layout: Layout, entry: Entry) -> Iterator[Digest]:
    yield entry.descriptor.digest
    with suppress(RunnerError):
        raw = read_blob(layout, entry.descriptor, limit_bytes=MAX_MANIFEST_BYTES)
        for blob in Manifest.parse(raw).blobs:
            yield blob.digest


def _name(entry: Entry) -> str:
    return entry.tags[0] if entry.tags else str(entry.descriptor.digest)


def _examine(
    layout: Layout, digest: Digest, on_bytes: OnBytes
) -> tuple[Identity | None, str | None]:
    """Return which file was looked at, if there is one, and what is wrong with it."""
    path = layout.blob(digest)
    try:
        facts = path.lstat()
        identity = Identity.of(facts)
        if not stat.S_ISREG(facts.st_mode):
            return identity, "is not a regular file"
        if hashes_to(path, digest, on_bytes):
            return identity, None
    except FileNotFoundError:
        return None, "is missing"
    except OSError as error:  # a dying disk must not end the check of what is left
        return None, f"cannot be read: {error.strerror}"
    loan = read_loan(layout, digest)
    return identity, f"was changed in {loan.source}" if loan else "has other bytes than its name"


def _repair(
    layout: Layout,
    index: IndexFile,
    digest: Digest,
    identity: Identity | None,
    candidates: Iterable[Path],
) -> Remedy:
    loan = read_loan(layout, digest)
    remedy = Remedy.NONE if identity is None else _set_aside(layout, index, digest, identity)
    sources = [Path(loan.source)] if loan else []
    with claimed(layout):
        for path in (*sources, *candidates):
            if _restore(layout, digest, path, not_from=identity):
                return Remedy.RESTORED
    return remedy


def _set_aside(layout: Layout, index: IndexFile, digest: Digest, identity: Identity) -> Remedy:
    """Take its name from the file that was examined, unless it was replaced since."""
    blob = layout.blob(digest)
    with index.changing():
        if not blob.exists() or Identity.of(blob.lstat()) != identity:
            return Remedy.RESTORED  # by somebody who added the model again
        if read_loan(layout, digest):
            blob.unlink()
            drop_loan(layout, digest)
            return Remedy.RELEASED
        blob.replace(blob.with_suffix(BAD_SUFFIX))
        return Remedy.SET_ASIDE


def _restore(layout: Layout, digest: Digest, path: Path, *, not_from: Identity | None) -> bool:
    """Take the blob from a file, if that has the right bytes and is not the damaged one itself."""
    try:
        with open_source(path) as source:
            if source.identity == not_from:
                return False
            measured = measure(source, lambda size: None)
            if measured.digest != digest:
                return False
            ingest_file(layout, source, measured, on_copy=lambda size: None)
    except RunnerError as error:
        if error.kind is Kind.DISK_FULL:
            raise  # the right bytes are there: with room, the next check restores them
        return False  # not there, unreadable, or changed meanwhile
    return True


def _drop_bundles(layout: Layout, index: Index, names: Iterable[str]) -> None:
    """Remove the bundles that link the damaged file: a good one is linked at the next load."""
    for entry in index.entries:
        if _name(entry) in names:
            shutil.rmtree(layout.bundle(entry.descriptor.digest), ignore_errors=True)


def _size_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
