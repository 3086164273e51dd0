"""Moves the store to another folder: by renaming it, or on another disk by a verified copy.

A folder is a store from the moment its ``oci-layout`` is there, which a copy writes last and the
old place loses first. The caller holds the old store's lock throughout, so nobody changes it; the
models can be used meanwhile.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.store.blobs import broken, is_whole
from runner.store.claims import check_unclaimed
from runner.store.faults import storage_errors
from runner.store.index import Index
from runner.store.ingest import check_room, ingest_stream
from runner.store.layout import FOLDER_MODE, Layout, replace_file, sync_folder
from runner.store.opening import check_may_become_store, write_marker
from runner.store.source import Measured, OnBytes, Source, open_source
from runner.store.sweep import needed_blobs, stored_blobs

OnProgress = Callable[[int, int], None]  # bytes done, bytes to do; what it raises ends the move

_OTHER_DISK = (errno.EXDEV, errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST)  # or a mount point


def check_target(layout: Layout, target: Path) -> None:
    """Refuse a place that the store cannot be moved to; raise RunnerError: USAGE or STORE."""
    problem = None
    if not target.is_absolute():
        problem = "is not an absolute path"
    elif target == layout.root or target.is_relative_to(layout.root):
        problem = "is inside the store"
    elif layout.root.is_relative_to(target):
        problem = "has the store inside"
    elif Layout(target).marker.exists():
        problem = "is a model store already"
    if problem:
        raise RunnerError(Kind.USAGE, f"{target} {problem}", hint="name an empty folder")
    with storage_errors("looking at the new place", target):
        check_may_become_store(Layout(target))


def move_store(layout: Layout, index: Index, target: Path, *, on_progress: OnProgress) -> bool:
    """Make ``target`` the store, with all models of ``layout``, which stays whole if that fails.

    The caller holds the lock. Returns whether it was a copy: then :func:`clear_old` is to follow.
    Raises RunnerError: BUSY while a model is being added, DISK_FULL with both numbers, INTEGRITY
    for a damaged blob.
    """
    check_unclaimed(layout, "moving the store")
    target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    try:
        layout.root.rename(target)
    except OSError as error:
        if error.errno not in _OTHER_DISK:
            raise
        _copy(layout, Layout(target), index, on_progress)
        return True
    for folder in {target.parent, layout.root.parent}:
        sync_folder(folder)
    return False


def clear_old(layout: Layout) -> None:
    """Delete what was copied.

    First the marker, so that the old place is no store any more. Its folder stays when it is a
    mount point. Workers that have a model open go on.
    """
    layout.marker.unlink(missing_ok=True)
    for name in sorted(layout.names):
        path = layout.root / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with suppress(OSError):  # a mount point, or a file of somebody's is in it
        layout.root.rmdir()


def _copy(old: Layout, new: Layout, index: Index, on_progress: OnProgress) -> None:
    for folder in (new.root, *new.folders):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    blobs = dict(_to_copy(old, needed_blobs(old, index)))
    missing = {digest: size for digest, size in blobs.items() if not is_whole(new, digest, size)}
    check_room(new.ingest, sum(missing.values()), "moving the store")
    total_bytes = sum(blobs.values())
    done_bytes = total_bytes - sum(missing.values())

    def add(size_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += size_bytes
        on_progress(done_bytes, total_bytes)

    on_progress(done_bytes, total_bytes)
    for digest, size_bytes in missing.items():
        with open_source(old.blob(digest)) as source:
            ingest_stream(new, Measured(digest, size_bytes), _told(source, add))
    _copy_uses(old, new, index)
    raw = index.render()
    replace_file(new, new.index, raw)
    replace_file(new, new.mirror, raw)
    write_marker(new)


def _told(source: Source, on_bytes: OnBytes) -> Iterator[bytes]:
    for chunk in source.chunks():
        yield chunk
        on_bytes(len(chunk))


def _to_copy(old: Layout, needed: set[Digest]) -> Iterator[tuple[Digest, int]]:
    """Yield the blobs that models need; raise RunnerError(INTEGRITY) for one that is no file."""
    for digest, path in stored_blobs(old):
        if digest in needed:
            if path.is_symlink() or not path.is_file():
                raise broken(digest, "is not a regular file")
            yield digest, path.stat().st_size


def _copy_uses(old: Layout, new: Layout, index: Index) -> None:
    """Keep when each model was last used: the times of bundles, which are made anew when loaded."""
    for entry in index.entries:
        digest = entry.descriptor.digest
        for before, now in (
            (old.bundle(digest), new.bundle(digest)),
            (old.blob(digest), new.blob(digest)),
        ):
            if not before.exists():
                continue
            if before.is_dir():
                now.mkdir(mode=FOLDER_MODE, exist_ok=True)
            facts = before.stat()
            os.utime(now, ns=(facts.st_atime_ns, facts.st_mtime_ns))
