"""Claims: what tells writers at work from what crashes left, so that nothing is deleted under them.

Blobs come in without the lock, one by one, long before a model names them. So whoever adds a model
holds a claim meanwhile, and a blob is deleted only when no model needs it *and* it is older than
every claim. Its age is the time of last status change: a writer that takes over a blob which is
there already renews it. A claim is a locked file; the kernel drops the lock with its process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.store.faults import storage_errors
from runner.store.layout import FILE_MODE, Layout
from runner.store.lock import locked

SUFFIX = ".claim"


@contextmanager
def claimed(layout: Layout) -> Iterator[None]:
    """Hold a claim for the body. The caller does not hold the store's lock.

    Raises RunnerError: STORE or DISK_FULL, BUSY.
    """
    path = layout.temporary().with_suffix(SUFFIX)
    with storage_errors("preparing to store a model", layout.root):
        descriptor = _begin(layout, path)
    try:
        yield
    finally:
        with suppress(OSError):  # what is left is not held, and so no claim
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _begin(layout: Layout, path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with locked(layout.lock):  # nobody looks at a claim that is not locked yet
        descriptor = os.open(path, flags, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def oldest_claim_s(layout: Layout) -> float:
    """Return when the oldest living claim began, in seconds since 1970; infinity without any.

    The caller holds the lock.
    """
    return min((path.stat().st_mtime for path in _living(layout)), default=float("inf"))


def check_unclaimed(layout: Layout, doing: str) -> None:
    """Refuse what cannot be done while models are being added; raise RunnerError(BUSY).

    The caller holds the lock.
    """
    for path in _living(layout):
        owner = path.read_text(encoding="ascii", errors="replace").strip()
        raise RunnerError(
            Kind.BUSY,
            f"process {owner} is adding a model to the store, which stops {doing}",
            hint="try again when it has finished",
            retry_after_s=10,
        )


def renew(blob: Path) -> None:
    """Make a blob as young as a new one; its content's own time stays."""
    with suppress(FileNotFoundError, PermissionError):
        facts = blob.stat()
        os.utime(blob, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _living(layout: Layout) -> Iterator[Path]:
    """Yield the claims that are held; those that dead processes left are removed."""
    for path in sorted(layout.ingest.glob(f"*{SUFFIX}")):
        if is_held(path):
            yield path
        else:
            path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Say whether somebody holds the lock of a file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
