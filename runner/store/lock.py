"""The writers' lock: one process or thread at a time changes the index or deletes blobs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.store.layout import FILE_MODE

TIMEOUT_S = 30.0  # far more than any change of the index takes; blobs are written without it
_PAUSE_S = 0.02


@contextmanager
def locked(path: Path, *, timeout_s: float = TIMEOUT_S) -> Iterator[None]:
    """Hold the lock file at ``path``; raise RunnerError(BUSY) with the owner's pid on time-out.

    The kernel drops the lock with its process, so a stale one cannot be: the file stays, and means
    nothing by itself. The owner's pid is in it for people.
    """
    deadline = time.monotonic() + timeout_s
    while (descriptor := try_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise RunnerError(
                Kind.BUSY,
                f"the model store is in use by process {_owner(path)}",
                hint="try again when it has finished",
                retry_after_s=1,
            )
        time.sleep(_PAUSE_S)
    try:
        with contextlib.suppress(OSError):  # it is for people, and must not need room on the disk
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock until it is closed; None when another has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever deletes the lock file must not let two of us in by two files of one name.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.ENOENT):
            os.close(descriptor)
            raise
    os.close(descriptor)
    return None


def _owner(path: Path) -> str:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    return text if text.isdigit() else "unknown"
