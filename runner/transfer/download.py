"""Brings a blob into the store: blocks in any order over several connections, hashed in order.

The calling thread hashes block after block while connections write those ahead of it, so the digest
is known when the last block is there. Blocks that an earlier attempt left are compared with their
CRC on the way; one that differs is fetched again, alone.
"""

from __future__ import annotations

import time

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest
from runner.registry.failures import Cause, is_passing, unavailable
from runner.registry.stream import OpenRange
from runner.store import Measured, Partial, Store
from runner.transfer.connections import Connections
from runner.transfer.pace import DEFAULT_PACE, Pace
from runner.transfer.passage import check_cancelled
from runner.transfer.progress import IsCancelled, LayerProgress, Listen, Note

WRITE_BACK_BLOCKS = 8
DOING = "the download"
TICK_S = 0.1  # how often progress is told, and asked whether to stop


def fetch_blob(
    store: Store,
    blob: Descriptor,
    open_range: OpenRange,
    *,
    listen: Listen,
    cancelled: IsCancelled,
    pace: Pace = DEFAULT_PACE,
) -> int:
    """Bring a blob into the store, from where an earlier attempt stopped; return bytes received.

    Threads and processes that want the same blob share one download: the others wait, tell its
    progress, and go on with it should it fail. What a blob that does not match its digest brought
    is thrown away, and fetched once more.

    ``listen`` is called from the calling thread. Raises RunnerError: INTEGRITY, DISK_FULL,
    CANCELLED (what has arrived is kept), REGISTRY_UNAVAILABLE when tries bring nothing any more,
    and what ``open_range`` raises.
    """
    inbox = store.inbox
    shared_bytes = 0
    while not inbox.has(blob):
        partial = inbox.open_partial(blob, block_bytes=pace.block_bytes)
        if partial is not None:
            with partial:
                if not inbox.has(blob):
                    inbox.check_room(_missing_bytes(partial), f"downloading {blob.digest}")
                    return _Download(partial, open_range, listen, cancelled, pace).run()
                partial.discard()  # it became one since we looked
                continue
        shared_bytes = inbox.arrived_bytes(blob) or shared_bytes
        listen(LayerProgress(blob.digest, blob.size_bytes, shared_bytes, shared_bytes))
        check_cancelled(cancelled, DOING)
        time.sleep(TICK_S)
    listen(
        LayerProgress(
            blob.digest,
            blob.size_bytes,
            done_bytes=blob.size_bytes,
            resumed_bytes=blob.size_bytes if shared_bytes else 0,
            is_present=not shared_bytes,
        )
    )
    return 0


def fetch_unknown(
    open_range: OpenRange, *, limit_bytes: int, cancelled: IsCancelled, pace: Pace = DEFAULT_PACE
) -> bytes:
    """Return a small file of unknown size and digest: the caller verifies and stores it.

    Raises RunnerError: TOO_LARGE over the limit, otherwise as :func:`fetch_blob`.
    """
    got, idle = bytearray(), 0
    while True:
        before, size = len(got), None
        problem = unavailable(Cause.BROKEN, "the server ended a file too early")
        try:
            with open_range(len(got), None) as stream:
                size = stream.size_bytes
                del got[stream.start :]  # a server may ignore where to begin
                for chunk in stream.chunks():
                    check_cancelled(cancelled, DOING)
                    got += chunk
                    if len(got) > limit_bytes:
                        raise _too_large(limit_bytes)
            if size is None or len(got) == size:
                return bytes(got)
        except RunnerError as error:
            if not is_passing(error):
                raise
            problem = error
        idle = 0 if len(got) > before else idle + 1
        if idle == pace.patience:
            raise problem
        check_cancelled(cancelled, DOING)
        time.sleep(pace.pause_after_s(idle))


def _too_large(limit_bytes: int) -> RunnerError:
    return RunnerError(
        Kind.TOO_LARGE,
        f"a file that should be small has more than {limit_bytes} bytes",
        hint="the repository is not laid out as a model's",
    )


def _missing_bytes(partial: Partial) -> int:
    return partial.size_bytes - sum(map(partial.block_size, partial.inherited))


class _Download:
    """A blob that this thread has locked."""

    def __init__(
        self,
        partial: Partial,
        open_range: OpenRange,
        listen: Listen,
        cancelled: IsCancelled,
        pace: Pace,
    ) -> None:
        self._partial = partial
        self._open_range = open_range
        self._listen = listen
        self._cancelled = cancelled
        self._pace = pace
        self._resumed_bytes = partial.size_bytes - _missing_bytes(partial)
        self._told_s = 0.0

    def run(self) -> int:
        """Fetch and hash until it is a blob; return the bytes received."""
        got, received = self._assemble()
        if got != self._partial.digest:
            text = f"blob {self._partial.digest} arrived as {got}: it is fetched once more"
            self._listen(Note(text, is_warning=True))
            self._partial.forget()
            self._resumed_bytes = 0
            got, again = self._assemble()
            received += again
        if got != self._partial.digest:
            self._partial.discard()
        self._partial.finish(Measured(got, self._partial.size_bytes))
        self._tell(self._partial.size_bytes)
        return received

    def _assemble(self) -> tuple[Digest, int]:
        """Hash the blocks in order as they come in; return the digest and the bytes received."""
        partial, hasher = self._partial, self._partial.digest.hasher()
        with Connections(partial, self._open_range, self._pace) as connections:
            index = 0
            while index < partial.block_count:
                is_there = self._await(connections, index)
                if time.monotonic() - self._told_s >= TICK_S:
                    check_cancelled(self._cancelled, DOING)
                    self._tell(connections.done_bytes)
                if not is_there:
                    continue
                block = partial.read(index)
                if not partial.vouches_for(index, block):
                    self._resumed_bytes = max(0, self._resumed_bytes - partial.block_size(index))
                    connections.reopen(index)
                    continue
                hasher.update(block)
                index += 1
                if index % WRITE_BACK_BLOCKS == 0:
                    partial.write_back(index - WRITE_BACK_BLOCKS, WRITE_BACK_BLOCKS)
            got = Digest(partial.digest.algorithm, hasher.hexdigest())
            return got, connections.received_bytes

    def _await(self, connections: Connections, index: int) -> bool:
        try:
            return connections.await_block(index, TICK_S)
        except RunnerError:
            check_cancelled(self._cancelled, DOING)  # then it is no fault, wherever it was met
            raise

    def _tell(self, done_bytes: int) -> None:
        self._told_s = time.monotonic()
        self._listen(
            LayerProgress(
                self._partial.digest, self._partial.size_bytes, done_bytes, self._resumed_bytes
            )
        )
