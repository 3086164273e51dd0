"""Reading blobs: whether one is there and whole, and the bytes of small ones."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest
from runner.store.layout import Layout
from runner.store.loans import read_loan, write_loan
from runner.store.source import CHUNK_BYTES, OnBytes

REPAIR_HINT = "pull or add the model again to repair it; other models are not affected"


def read_blob(layout: Layout, descriptor: Descriptor, *, limit_bytes: int) -> bytes:
    """Read a small blob and verify it; raise RunnerError(INTEGRITY)."""
    path = layout.blob(descriptor.digest)
    if descriptor.size_bytes > limit_bytes:
        raise broken(descriptor.digest, f"is larger than {limit_bytes} bytes")
    try:
        with path.open("rb") as file:
            data = file.read(descriptor.size_bytes + 1)
    except FileNotFoundError as error:
        raise broken(descriptor.digest, "is missing") from error
    if len(data) != descriptor.size_bytes or not descriptor.digest.matches(data):
        raise broken(descriptor.digest, "is damaged")
    return data


def is_present(layout: Layout, descriptor: Descriptor) -> bool:
    """Say whether a blob is there with the right size: the check of lists, one stat each."""
    try:
        facts = layout.blob(descriptor.digest).lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size == descriptor.size_bytes


def stored_s(layout: Layout, descriptor: Descriptor) -> int:
    """Return when a blob of our own was written, in seconds since 1970."""
    try:
        return int(layout.blob(descriptor.digest).lstat().st_mtime)
    except FileNotFoundError as error:
        raise broken(descriptor.digest, "is missing") from error


def is_whole(layout: Layout, digest: Digest, size_bytes: int) -> bool:
    """Say whether a blob is there and :func:`check_blob` has nothing against it."""
    try:
        check_blob(layout, digest, size_bytes)
    except RunnerError:
        return False
    return True


def check_blob(layout: Layout, digest: Digest, size_bytes: int) -> None:
    """Check a blob before it is used; raise RunnerError(INTEGRITY).

    Blobs of our own were hashed when they got their name, so their size is compared. A linked one
    whose file has another modification time than the one recorded is hashed again.
    """
    path = layout.blob(digest)
    try:
        facts = path.lstat()
    except FileNotFoundError as error:
        raise broken(digest, "is missing") from error
    if not stat.S_ISREG(facts.st_mode):
        raise broken(digest, "is not a regular file")
    loan = read_loan(layout, digest)
    changed = f"was changed in {loan.source}, which it shares its bytes with" if loan else ""
    if facts.st_size != size_bytes:
        raise broken(digest, changed or f"has {facts.st_size} bytes instead of {size_bytes}")
    if loan and loan.mtime_ns != facts.st_mtime_ns:
        if not hashes_to(path, digest):
            raise broken(digest, changed)
        if layout.is_ours:
            write_loan(layout, digest, mtime_ns=facts.st_mtime_ns, source=loan.source)


def hashes_to(path: Path, digest: Digest, on_bytes: OnBytes = lambda size: None) -> bool:
    """Hash a file and compare; a symbolic link is an OSError."""
    hasher = digest.hasher()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while chunk := os.read(descriptor, CHUNK_BYTES):
            hasher.update(chunk)
            on_bytes(len(chunk))
    finally:
        os.close(descriptor)
    return hasher.hexdigest() == digest.hex


def broken(digest: Digest, problem: str) -> RunnerError:
    """Build the error of a damaged blob."""
    return RunnerError(
        Kind.INTEGRITY,
        f"blob {digest} {problem}",
        hint=REPAIR_HINT,
        details={"digest": str(digest)},
    )
