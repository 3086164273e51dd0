"""The way into the store: a temporary file becomes a blob once its bytes are proved and durable.

:func:`commit` is the only place where a blob gets its name.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.store.blobs import is_whole
from runner.store.claims import renew
from runner.store.faults import disk_full, free_bytes
from runner.store.layout import Layout, open_new, sync_folder, write_new
from runner.store.loans import drop_loan, write_loan
from runner.store.source import Identity, Measured, OnBytes, Source

FICLONE = 0x40049409  # _IOW(0x94, 9, int) of linux/fs.h: share extents until one side writes
MARGIN_BYTES = 16 * 1024 * 1024  # left free for manifests, index and logs

_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP)


class Placement(StrEnum):
    """How a file came into the store, cheapest first."""

    PRESENT = "present"
    LINKED = "linked"
    CLONED = "cloned"
    COPIED = "copied"


def ingest_bytes(layout: Layout, data: bytes) -> Measured:
    """Store a small document."""
    measured = Measured(Digest.of(data), len(data))
    if is_whole(layout, measured.digest, measured.size_bytes):
        renew(layout.blob(measured.digest))
    else:
        with _temporary(layout) as temporary:
            write_new(temporary, data)
            commit(layout, temporary, expected=measured, got=measured)
    return measured


def ingest_file(
    layout: Layout, source: Source, measured: Measured, *, on_copy: OnBytes
) -> Placement:
    """Store a file that was measured: by hard link, else by reflink, else by copy.

    ``on_copy`` hears of copied bytes. Raises RunnerError: INTEGRITY when the file changed since,
    DISK_FULL when a copy does not fit.
    """
    digest = measured.digest
    if is_whole(layout, digest, measured.size_bytes):
        renew(layout.blob(digest))
        return Placement.PRESENT
    with _temporary(layout) as temporary:
        if _link(source, temporary):
            source.check_unchanged()
            write_loan(layout, digest, mtime_ns=source.identity.mtime_ns, source=source.path)
            commit(layout, temporary, expected=measured, got=measured)
            return Placement.LINKED
        if _clone(source, temporary):
            source.check_unchanged()
            placement, got = Placement.CLONED, measured
        else:
            placement, got = Placement.COPIED, _copy(source, temporary, on_copy)
        commit(layout, temporary, expected=measured, got=got)
        drop_loan(layout, digest)
        return placement


def ingest_stream(layout: Layout, expected: Measured, chunks: Iterable[bytes]) -> None:
    """Store a blob out of its bytes, none of which are taken when it is there.

    Raises RunnerError: INTEGRITY, DISK_FULL.
    """
    if is_whole(layout, expected.digest, expected.size_bytes):
        renew(layout.blob(expected.digest))
        return
    check_room(layout.ingest, expected.size_bytes, f"storing {expected.digest}")
    hasher, size = expected.digest.hasher(), 0
    with _temporary(layout) as temporary:
        with open_new(temporary) as target:
            for chunk in chunks:
                size += len(chunk)
                if size > expected.size_bytes:
                    break  # `commit` tells
                target.write(chunk)
                hasher.update(chunk)
        digest = Digest(expected.digest.algorithm, hasher.hexdigest())
        commit(layout, temporary, expected=expected, got=Measured(digest, size))
        drop_loan(layout, digest)


def ingest_upload(layout: Layout, digest: Digest, chunks: Iterable[bytes]) -> Measured:
    """Store a blob out of its bytes, of which only the digest is known before.

    None are taken when it is there. Raises RunnerError: INTEGRITY, DISK_FULL.
    """
    there = renewed(layout, digest)
    if there is not None:
        return there
    hasher, size = digest.hasher(), 0
    with _temporary(layout) as temporary:
        with open_new(temporary) as target:
            for chunk in chunks:
                size += len(chunk)
                target.write(chunk)
                hasher.update(chunk)
        got = Measured(Digest(digest.algorithm, hasher.hexdigest()), size)
        commit(layout, temporary, expected=Measured(digest, size), got=got)
        drop_loan(layout, digest)
    return got


def renewed(layout: Layout, digest: Digest) -> Measured | None:
    """Look a blob up by its digest alone, and keep it from deletion for now; None: no such blob."""
    try:
        size_bytes = layout.blob(digest).lstat().st_size
    except FileNotFoundError:
        return None
    if not is_whole(layout, digest, size_bytes):
        return None
    renew(layout.blob(digest))
    return Measured(digest, size_bytes)


def commit(layout: Layout, temporary: Path, *, expected: Measured, got: Measured) -> None:
    """Verify, make durable, rename: the only way a blob gets its name.

    ``got`` was counted over the bytes of ``temporary``. Raises RunnerError(INTEGRITY).
    """
    if got != expected:
        raise RunnerError(
            Kind.INTEGRITY,
            f"expected {expected.digest} of {expected.size_bytes} bytes, "
            f"got {got.digest} of {got.size_bytes}",
            hint="the data changed on its way: try again",
        )
    descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        facts = os.fstat(descriptor)
        assert stat.S_ISREG(facts.st_mode) and facts.st_size == expected.size_bytes
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    blob = layout.blob(expected.digest)
    blob.parent.mkdir(mode=0o700, exist_ok=True)
    temporary.replace(blob)
    sync_folder(blob.parent)


def check_room(folder: Path, size_bytes: int, doing: str) -> None:
    """Raise RunnerError(DISK_FULL) with both numbers when that much more does not fit."""
    need, have = size_bytes + MARGIN_BYTES, free_bytes(folder)
    if size_bytes and need > have:
        raise disk_full(doing, need_bytes=need, have_bytes=have)


@contextmanager
def _temporary(layout: Layout) -> Iterator[Path]:
    """Give a name in ``ingest`` that is free again afterwards, whatever happened."""
    path = layout.temporary()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _link(source: Source, temporary: Path) -> bool:
    """Try a hard link; False when the file system, or prudence, does not allow one."""
    if source.owner not in (0, os.geteuid()) or source.mode & stat.S_IWOTH:
        return False  # others may write into it at any time
    try:
        os.link(source.path, temporary, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    if Identity.of(temporary.lstat()) == source.identity:
        return True
    temporary.unlink()  # another file took the path since it was opened
    return False


def _clone(source: Source, temporary: Path) -> bool:
    """Try a copy that shares its blocks until written (btrfs, XFS)."""
    with open_new(temporary) as target:
        try:
            fcntl.ioctl(target.fileno(), FICLONE, source.descriptor)
            return True
        except OSError:
            pass  # each file system has its own number for "cannot"
    temporary.unlink()
    return False


def _copy(source: Source, temporary: Path, on_copy: OnBytes) -> Measured:
    """Copy the file's bytes and measure what was written."""
    check_room(temporary.parent, source.size_bytes, f"copying {source.path}")
    hasher, size = hashlib.sha256(), 0
    with open_new(temporary) as target:
        for chunk in source.chunks():
            target.write(chunk)
            hasher.update(chunk)
            size += len(chunk)
            on_copy(len(chunk))
    return Measured(Digest("sha256", hasher.hexdigest()), size)
