"""Turns the system's errors into ours: what failed, why, and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import Kind, RunnerError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MB = 1_000_000
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def storage_errors(doing: str, root: Path, *, need_bytes: int | None = None) -> Iterator[None]:
    """Translate an OSError of the body into RunnerError(DISK_FULL or STORE).

    ``need_bytes``: what the body still had to write, where that is known.
    """
    try:
        yield
    except OSError as error:
        raise _translate(error, doing, root, need_bytes) from error


def disk_full(doing: str, *, need_bytes: int | None, have_bytes: int) -> RunnerError:
    """Build the error of a full disk with both numbers, where they are known."""
    need = "" if need_bytes is None else f" {need_bytes / _MB:.2f} MB are needed,"
    return RunnerError(
        Kind.DISK_FULL,
        f"the model store's disk is full while {doing}:{need} {have_bytes / _MB:.2f} MB are free",
        hint="remove models you do not use (runner rm), or free space on that disk",
        details={"need_bytes": need_bytes, "have_bytes": have_bytes},
    )


def is_full(error: OSError) -> bool:
    """Tell whether a disk, or our share of it, is what failed."""
    return error.errno in _FULL


def free_bytes(folder: Path) -> int:
    """Return the bytes that we may still write to the folder's file system."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


def _translate(error: OSError, doing: str, root: Path, need_bytes: int | None) -> RunnerError:
    if is_full(error):
        return disk_full(doing, need_bytes=need_bytes, have_bytes=_free_bytes_or_zero(root))
    reason = error.strerror or type(error).__name__
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in _FORBIDDEN:
        hint = f"check owner and mode of {root}, and that its disk is not read-only"
    elif error.errno == errno.EFBIG:
        hint = f"the file system of {root} holds no file of that size; keep models on another disk"
    elif error.errno == errno.EIO:
        hint = "the disk reports errors: check it before you go on"
    else:
        hint = f"check that {root} is there and its disk is mounted"
    return RunnerError(
        Kind.STORE, f"the model store failed while {doing}: {reason}{where}", hint=hint
    )


def _free_bytes_or_zero(root: Path) -> int:
    try:
        return free_bytes(root)
    except OSError:
        return 0
