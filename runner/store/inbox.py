"""Where blobs come in: downloads, documents, files of this machine, streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from runner.oci import Descriptor, Digest
from runner.store.blobs import check_blob, is_whole
from runner.store.claims import claimed
from runner.store.faults import storage_errors
from runner.store.ingest import (
    check_room,
    ingest_bytes,
    ingest_file,
    ingest_stream,
    ingest_upload,
    renewed,
)
from runner.store.layout import Layout
from runner.store.partial import BLOCK_BYTES, Partial, arrived_bytes, open_partial
from runner.store.pins import pinned
from runner.store.source import Measured, OnBytes, Source, measure, open_source


class Inbox:
    """The way in of one store. Threads and processes may use it at the same time."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def has(self, blob: Descriptor) -> bool:
        """Say whether a blob is there and whole, whichever model it came with."""
        with storage_errors("looking up a blob", self._layout.root):
            return is_whole(self._layout, blob.digest, blob.size_bytes)

    def add_document(self, media_type: str, data: bytes) -> Descriptor:
        """Store a small blob."""
        with storage_errors("storing a document", self._layout.root):
            stored = ingest_bytes(self._layout, data)
        return Descriptor(media_type, stored.digest, stored.size_bytes)

    def add_file(self, source: Source, *, on_bytes: OnBytes, on_copy: OnBytes) -> Measured:
        """Hash a file and store it: by hard link, else by reflink, else by copy.

        ``on_bytes`` hears of bytes hashed, ``on_copy`` of bytes copied. Raises RunnerError:
        INTEGRITY when the file changes meanwhile, DISK_FULL.
        """
        with storage_errors(f"adding {source.path.name}", self._layout.root):
            measured = measure(source, on_bytes)
            ingest_file(self._layout, source, measured, on_copy=on_copy)
            return measured

    def add_stream(self, expected: Measured, chunks: Iterable[bytes]) -> None:
        """Store a blob out of its bytes, no more of which are taken than it has.

        Raises RunnerError: INTEGRITY for other bytes, DISK_FULL, and what ``chunks`` raises.
        """
        with storage_errors(f"storing {expected.digest}", self._layout.root):
            ingest_stream(self._layout, expected, chunks)

    def add_upload(self, digest: Digest, chunks: Iterable[bytes]) -> Measured:
        """Store a blob out of its bytes, of which only the digest is known before.

        Raises RunnerError: INTEGRITY for other bytes, DISK_FULL, and what ``chunks`` raises.
        """
        with storage_errors(f"storing {digest}", self._layout.root):
            return ingest_upload(self._layout, digest, chunks)

    def take_up(self, digest: Digest) -> int | None:
        """Return the size of a blob, which is kept from deletion as if it came in now."""
        with storage_errors("looking up a blob", self._layout.root):
            found = renewed(self._layout, digest)
            return None if found is None else found.size_bytes

    @contextmanager
    def opened(self, blob: Descriptor, name: str) -> Iterator[Source]:
        """Open a blob that came in, to look at it; errors call it ``name``.

        Raises RunnerError(INTEGRITY) when it is not there any more.
        """
        with storage_errors("looking at a blob", self._layout.root):
            check_blob(self._layout, blob.digest, blob.size_bytes)
            with open_source(self._layout.blob(blob.digest)) as source:
                yield replace(source, path=Path(name))

    def open_partial(self, blob: Descriptor, *, block_bytes: int = BLOCK_BYTES) -> Partial | None:
        """Begin or resume a download; None while another thread or process is at it."""
        with storage_errors("beginning a download", self._layout.root):
            return open_partial(self._layout, blob, block_bytes=block_bytes)

    def arrived_bytes(self, blob: Descriptor) -> int:
        """Return how many bytes of an unfinished blob are there, whoever fetches it."""
        with storage_errors("looking at a download", self._layout.root):
            return arrived_bytes(self._layout, blob)

    def check_room(self, size_bytes: int, doing: str) -> None:
        """Raise RunnerError(DISK_FULL) with both numbers when that much more does not fit."""
        with storage_errors(doing, self._layout.root):
            check_room(self._layout.partials, size_bytes, doing)

    def pinned(self, digests: Iterable[Digest]) -> AbstractContextManager[None]:
        """Keep blobs from deletion for the body, and after its failure too: for the next try."""
        return pinned(self._layout, digests)

    def claimed(self) -> AbstractContextManager[None]:
        """Keep all that comes in during the body from being deleted until it ends."""
        return claimed(self._layout)
