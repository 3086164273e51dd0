"""Reading stored blobs in parts, for whoever sends them on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.oci import Descriptor
from runner.store.blobs import broken, check_blob
from runner.store.faults import storage_errors
from runner.store.layout import Layout

# Of one write to a socket. A stall timer runs anew for each: a line of 10 kB/s is slow, not dead.
PIECE_BYTES = 256 * 1024

ReadRange = Callable[[int, int], Iterator[bytes]]  # the bytes from an offset to another


@contextmanager
def open_blob(layout: Layout, blob: Descriptor) -> Iterator[ReadRange]:
    """Open a blob; give what reads its parts, in pieces of at most 256 KiB, by several threads.

    A model that is removed meanwhile stays readable. Raises RunnerError: INTEGRITY when the blob
    is missing, of another size or cut short while it is read; STORE.
    """
    with storage_errors("reading a blob", layout.root):
        check_blob(layout, blob.digest, blob.size_bytes)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(layout.blob(blob.digest), flags)

    def read(start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            with storage_errors("reading a blob", layout.root):
                piece = os.pread(descriptor, min(PIECE_BYTES, stop - start), start)
            if not piece:
                raise broken(blob.digest, f"ends at byte {start} of {blob.size_bytes}")
            yield piece
            start += len(piece)

    try:
        yield read
    finally:
        os.close(descriptor)
