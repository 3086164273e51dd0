"""A file of the user that is to become a blob: opened once, looked at, hashed, watched."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from runner.errors import Kind, RunnerError
from runner.oci import Digest

CHUNK_BYTES = 1024 * 1024
MAX_EXTENTS = 10_000  # data and holes of a sparse file that are counted before we give up

OnBytes = Callable[[int], None]  # told how many more bytes were worked on


class Identity(NamedTuple):
    """What does not change while a file's content stays the same."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, facts: os.stat_result) -> Identity:
        """Take the identity out of a stat result."""
        return cls(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)


class Measured(NamedTuple):
    """Digest and size that were counted over real bytes, not read in a document."""

    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """An open regular file."""

    path: Path  # without symbolic links
    descriptor: int
    identity: Identity
    owner: int
    mode: int

    @property
    def size_bytes(self) -> int:
        """The file's size when it was opened."""
        return self.identity.size_bytes

    def head(self, limit_bytes: int) -> bytes:
        """Read the beginning of the file.

        By pread and not mmap: a file cut short by its owner must not kill the daemon by SIGBUS.
        """
        parts = []
        at, end = 0, min(limit_bytes, self.size_bytes)
        while at < end and (part := os.pread(self.descriptor, min(CHUNK_BYTES, end - at), at)):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def chunks(self) -> Iterator[bytes]:
        """Read the whole file, piece by piece."""
        at = 0
        while part := os.pread(self.descriptor, CHUNK_BYTES, at):
            yield part
            at += len(part)

    def check_unchanged(self) -> None:
        """Raise RunnerError(INTEGRITY) when the file is not as it was when it was opened."""
        if Identity.of(os.fstat(self.descriptor)) != self.identity:
            raise RunnerError(
                Kind.INTEGRITY,
                f"{self.path} was changed while it was read",
                hint="wait until its download or copy is finished, then try again",
            )


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a regular file for reading; raise RunnerError(USAGE) for anything else.

    Symbolic links that the user names are followed, once, here; what is opened is the real file.
    """
    try:
        real = path.resolve(strict=True)
        # Without O_NONBLOCK the open of a FIFO waits for its other end.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(real, flags)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        raise _refuse(path, _reason(error)) from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise _refuse(path, f"is a {_kind(facts.st_mode)}, not a regular file")
        yield Source(real, descriptor, Identity.of(facts), facts.st_uid, facts.st_mode)
    finally:
        os.close(descriptor)


def measure(source: Source, on_bytes: OnBytes) -> Measured:
    """Hash the file with sha256 while reading it once."""
    hasher, size = hashlib.sha256(), 0
    for chunk in source.chunks():
        hasher.update(chunk)
        size += len(chunk)
        on_bytes(len(chunk))
    source.check_unchanged()
    return Measured(Digest("sha256", hasher.hexdigest()), size)


def check_not_hollow(source: Source) -> None:
    """Refuse a file of which less than half was ever written: an unfinished download.

    Keeps a sparse file of many terabytes from being hashed for hours.
    """
    written = sum(_extents(source))
    if written < source.size_bytes // 2:
        raise _refuse(
            source.path,
            f"has only {written} of {source.size_bytes} bytes written; the rest is a hole",
            hint="finish its download first",
        )


def _extents(source: Source) -> Iterator[int]:
    """Yield the sizes of the parts that hold data."""
    at = 0
    for _ in range(MAX_EXTENTS):
        try:
            start = os.lseek(source.descriptor, at, os.SEEK_DATA)
            end = os.lseek(source.descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data after `at`
                return
            yield source.size_bytes  # this file system cannot tell
            return
        yield end - start
        at = end


def _kind(mode: int) -> str:
    names = ((stat.S_ISDIR, "folder"), (stat.S_ISFIFO, "FIFO"), (stat.S_ISSOCK, "socket"))
    return next((name for is_kind, name in names if is_kind(mode)), "device")


def _reason(error: OSError | RuntimeError) -> str:
    reasons = {
        errno.ENOENT: "does not exist",
        errno.ENOTDIR: "does not exist",
        errno.EACCES: "may not be read",
        errno.ELOOP: "is a symbolic link that leads nowhere",
        errno.ENXIO: "is a socket or device, not a regular file",
    }
    number = error.errno if isinstance(error, OSError) else errno.ELOOP
    return reasons.get(number or 0, f"cannot be opened: {error}")


def _refuse(path: Path, problem: str, *, hint: str | None = None) -> RunnerError:
    return RunnerError(
        Kind.USAGE, f"{path} {problem}", hint=hint or "give the path of a readable model file"
    )
