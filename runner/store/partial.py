"""Unfinished blobs: bytes that arrive in any order, and a journal of the blocks that are whole.

A blob is divided into blocks of one size. A line of the journal says that a block was written, and
its CRC-32. Nothing is flushed while bytes arrive, so after a crash a line may promise what the disk
does not hold: whoever resumes reads every block again anyway, for the blob's hash, and compares.
The CRC finds the block to fetch again; whether the blob is right is for its digest to say.

Whoever holds the lock of the journal works on the blob; the kernel drops it with the process.
"""

from __future__ import annotations

import os
import sys
import threading
import zlib
from types import TracebackType
from typing import Self

from runner.oci import Descriptor, Digest
from runner.store.faults import storage_errors
from runner.store.ingest import commit
from runner.store.layout import FILE_MODE, Layout
from runner.store.loans import drop_loan
from runner.store.lock import try_lock
from runner.store.source import Measured

BLOCK_BYTES = 1024 * 1024  # what a crash costs for each connection; 40 GB make a journal of 600 kB

_HEAD = "runner-partial-1 {} {}"
_DOING = "downloading; what has arrived is kept"


class Partial:
    """An unfinished blob that this process works on. Writing may happen in several threads.

    After :meth:`close`, or the end of a ``with`` block, a late thread's write is refused: the file
    may be another's by then. Methods raise RunnerError: DISK_FULL or STORE.
    """

    def __init__(self, layout: Layout, blob: Descriptor, lock: int, block_bytes: int) -> None:
        self.digest = blob.digest
        self.size_bytes = blob.size_bytes
        self.block_bytes = block_bytes
        self._layout = layout
        self._lock = lock
        self._head = _HEAD.format(blob.size_bytes, block_bytes).encode() + b"\n"
        self._writing = threading.Lock()
        self._is_open = True
        raw = layout.journal(blob.digest).read_bytes()
        if not raw.startswith(self._head):
            self.forget()
            raw = self._head
        else:
            os.lseek(lock, 0, os.SEEK_END)
            if not raw.endswith(b"\n"):
                os.write(lock, b"\n")  # ends a line that a crash cut off
        self.inherited = parse_journal(raw, self.block_count)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._data = os.open(layout.partial(blob.digest), flags, FILE_MODE)
        for descriptor in (self._data, lock):
            os.utime(descriptor)  # what is worked on is not too old to be kept

    @property
    def block_count(self) -> int:
        """Number of blocks; the last may be shorter than the others."""
        return -(-self.size_bytes // self.block_bytes)

    def block_size(self, index: int) -> int:
        """Bytes of a block."""
        return min(self.block_bytes, self.size_bytes - index * self.block_bytes)

    def write(self, data: bytes | memoryview, offset: int) -> bool:
        """Write at an offset; return False, with nothing written, after :meth:`close`."""
        left = memoryview(data)
        with storage_errors(_DOING, self._layout.root, need_bytes=self.size_bytes - offset):
            while left:
                with self._writing:
                    if not self._is_open:
                        return False
                    written = os.pwrite(self._data, left, offset)
                left, offset = left[written:], offset + written
        return True

    def settle(self, index: int, crc: int) -> None:
        """Note that a block is written whole."""
        with storage_errors(_DOING, self._layout.root), self._writing:
            if self._is_open:
                os.write(self._lock, f"{index} {crc:08x}\n".encode())

    def read(self, index: int) -> bytes:
        """Read a block back. Less than its size where the file is cut short."""
        with storage_errors("checking a download", self._layout.root):
            return os.pread(self._data, self.block_size(index), index * self.block_bytes)

    def write_back(self, first: int, count: int) -> None:
        """Let the disk begin to write blocks, so that little is left to flush at the end.

        A hint: on Linux, this advice queues pages that are dirty, and they stay in memory.
        """
        if sys.platform == "linux":
            size = count * self.block_bytes
            os.posix_fadvise(self._data, first * self.block_bytes, size, os.POSIX_FADV_DONTNEED)

    def vouches_for(self, index: int, block: bytes) -> bool:
        """Say whether a block that was read is what was written: once, of an earlier attempt's.

        A block of this attempt needs only its size: it is read from where it was just written.
        """
        crc = self.inherited.pop(index, None)
        return len(block) == self.block_size(index) and crc in (None, zlib.crc32(block))

    def forget(self) -> None:
        """Begin anew: no block counts as written."""
        with storage_errors("beginning a download", self._layout.root):
            os.ftruncate(self._lock, 0)
            os.lseek(self._lock, 0, os.SEEK_SET)
            os.write(self._lock, self._head)
        self.inherited = {}

    def finish(self, got: Measured) -> None:
        """Make the bytes a blob; raise RunnerError(INTEGRITY) when ``got`` is not what it is."""
        with storage_errors("finishing a download", self._layout.root):
            path = self._layout.partial(self.digest)
            commit(self._layout, path, expected=Measured(self.digest, self.size_bytes), got=got)
            drop_loan(self._layout, self.digest)
            self._layout.journal(self.digest).unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete the bytes, and what is known of them."""
        with storage_errors("removing a download", self._layout.root):
            _delete(self._layout, self.digest)

    def close(self) -> None:
        """Let others work on the blob."""
        with self._writing:
            if self._is_open:
                self._is_open = False
                os.close(self._data)
                os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_partial(layout: Layout, blob: Descriptor, *, block_bytes: int) -> Partial | None:
    """Take over an unfinished blob, or begin one; None while another works on it.

    One that was begun with blocks of another size, or for a blob of another one, begins anew.
    """
    lock = try_lock(layout.journal(blob.digest))
    if lock is None:
        return None
    try:
        return Partial(layout, blob, lock, block_bytes)
    except BaseException:
        os.close(lock)
        raise


def arrived_bytes(layout: Layout, blob: Descriptor) -> int:
    """Return how many bytes of an unfinished blob are there, whoever works on it."""
    try:
        raw = layout.journal(blob.digest).read_bytes()
    except FileNotFoundError:
        return 0
    head = raw.partition(b"\n")[0].decode("ascii", errors="replace").split()
    if len(head) != 3 or not head[2].isdecimal() or not 0 < (block := int(head[2])) < 2**40:
        return 0
    count = -(-blob.size_bytes // block)
    done = parse_journal(raw, count)
    return sum(min(block, blob.size_bytes - index * block) for index in done)


def parse_journal(raw: bytes, block_count: int) -> dict[int, int]:
    """Return the CRC of every block that a journal tells of; the last line of a block counts.

    Any bytes may come: lines that say nothing, as a crash leaves them, are passed over.
    """
    found = {}
    for line in raw.split(b"\n")[1:]:
        index, _, crc = line.partition(b" ")
        if len(crc) == 8 and index.isdigit() and len(index) < 12 and int(index) < block_count:
            try:
                found[int(index)] = int(crc, 16)
            except ValueError:
                continue
    return found


def _delete(layout: Layout, digest: Digest) -> None:
    layout.partial(digest).unlink(missing_ok=True)
    layout.journal(digest).unlink(missing_ok=True)  # last: it is the lock
