"""The connections of one download: threads that fetch blocks of a blob and write them.

They check lengths and offsets, never content: that is for who reads the blocks in order.
"""

from __future__ import annotations

import random
import threading
import time
import zlib
from dataclasses import dataclass
from typing import Self

from runner.errors import Kind, RunnerError
from runner.registry.failures import Cause, is_passing, unavailable
from runner.registry.stream import BlobStream, OpenRange
from runner.store import Partial
from runner.transfer.claims import Claim, Claims
from runner.transfer.pace import Pace, Ramp, connections

JOIN_S = 0.2  # a thread that waits for a silent server is left behind: it can write no more

# What a server may say to one connection too many.
REFUSALS = frozenset(
    {Kind.REGISTRY_UNAVAILABLE, Kind.REGISTRY_DENIED, Kind.RATE_LIMITED, Kind.MODEL_NOT_FOUND}
)

COMES_BACK = frozenset({Cause.DNS, Cause.CONNECT, Cause.HANDSHAKE, Cause.PROXY, Cause.STATUS})


@dataclass(slots=True, eq=False)
class Cursor:
    """How far one connection is: in a block of its claim, with the CRC of what it has of it."""

    claim: Claim
    filled_bytes: int = 0
    crc: int = 0


class Connections:
    """Fetches the blocks of ``partial`` that are missing, over as many connections as pay.

    Used as a context manager, whose end stops the threads.
    """

    def __init__(self, partial: Partial, open_range: OpenRange, pace: Pace) -> None:
        self._partial = partial
        self._open_range = open_range
        self._pace = pace
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()  # guards what follows
        self._claims = Claims(partial.block_count, partial.inherited)
        self._cursors: list[Cursor] = []  # one for each thread that runs
        self._ramp = Ramp()
        self._trial = (time.monotonic(), 0)  # when it began, and what had been received
        self._most_connections = pace.most_connections
        self._honours_ranges = True  # until the server answers one with the whole blob
        self._error: Exception | None = None
        self._received_bytes = 0

    def await_block(self, index: int, timeout_s: float) -> bool:
        """Wait until a block is written; False after the time. Raises what ended the download."""
        with self._changed:
            self._tend()
            if not self._claims.is_done(index) and self._error is None:
                self._changed.wait(timeout_s)
            if self._claims.is_done(index):
                return True
            if self._error is not None:
                raise self._error
            return False

    def reopen(self, index: int) -> None:
        """Fetch a block again."""
        with self._changed:
            self._claims.reopen(index)

    @property
    def received_bytes(self) -> int:
        """Bytes that came over the line."""
        return self._received_bytes

    @property
    def done_bytes(self) -> int:
        """Bytes that are written, with those of earlier attempts."""
        with self._changed:
            last = self._partial.block_count - 1
            done = self._claims.done_count * self._partial.block_bytes
            if last >= 0 and self._claims.is_done(last):
                done += self._partial.block_size(last) - self._partial.block_bytes
            return done + sum(cursor.filled_bytes for cursor in self._cursors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        deadline = time.monotonic() + JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _tend(self) -> None:
        """Measure, and open connections that are worth it. The caller holds the lock."""
        began_s, before = self._trial
        elapsed_s = time.monotonic() - began_s
        if elapsed_s >= self._pace.trial_s and self._received_bytes > before:
            self._ramp = self._ramp.settle((self._received_bytes - before) / elapsed_s)
            self._trial = (time.monotonic(), self._received_bytes)
        while self._error is None and len(self._cursors) < self._wanted:
            if self._wanted > 1:
                self._claims.shorten(self._pace.run_blocks)
            claim = self._claims.take(self._most_blocks)
            if claim is None:
                break
            cursor = Cursor(claim)
            self._cursors.append(cursor)
            name = f"fetch {self._partial.digest.short}"
            thread = threading.Thread(target=self._serve, args=(cursor,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def _wanted(self) -> int:
        missing = self._partial.block_count - self._claims.done_count
        wanted = connections(self._ramp, self._pace, missing_blocks=missing)
        return min(wanted, missing, self._most_connections)

    @property
    def _most_blocks(self) -> int | None:
        return self._pace.run_blocks if self._wanted > 1 else None

    def _serve(self, cursor: Cursor) -> None:
        """Fetch one claim after the other: the life of a connection's thread."""
        try:
            while not self._stop.is_set():
                self._complete(cursor)
                if not self._take_next(cursor):
                    break
        except Exception as error:
            self._fail(error)
        finally:
            with self._changed:
                self._claims.release(cursor.claim)
                self._cursors.remove(cursor)
                self._changed.notify_all()

    def _take_next(self, cursor: Cursor) -> bool:
        """Exchange a finished claim for another; False when none is left, or it is not finished."""
        with self._changed:
            if cursor.claim.remaining:
                return False
            claim = self._claims.take(self._most_blocks)
            if claim is None:
                return False
            self._claims.release(cursor.claim)
            cursor.claim = claim
            return True

    def _fail(self, error: Exception) -> None:
        """End the download, unless the server refused one connection and others go on."""
        is_refusal = isinstance(error, RunnerError) and error.kind in REFUSALS
        with self._changed:
            if is_refusal and len(self._cursors) > 1:
                self._most_connections = 1
                return
            self._error = error
            self._stop.set()

    def _complete(self, cursor: Cursor) -> None:
        """Fetch a claim, again from where it broke off; raise when patience ends.

        Ends early when told to stop, or when ranges are ignored and another connection is enough.
        """
        idle, progress_s, heard_bytes = 0, time.monotonic(), self._received_bytes
        while cursor.claim.remaining and not self._stop.is_set():
            before = self._offset(cursor)
            problem = self._cut_off(before)
            try:
                if not self._stream(cursor):
                    return
            except RunnerError as error:
                if not self._is_worth_a_try(error) and not self._may_be_the_range(error):
                    raise
                problem = error
            if not cursor.claim.remaining:
                return
            if self._offset(cursor) > before:
                idle, progress_s, heard_bytes = 0, time.monotonic(), self._received_bytes
            else:
                idle += 1
            if idle >= self._pace.patience and self._is_hopeless(progress_s, heard_bytes):
                raise problem
            self._stop.wait(self._pace.pause_after_s(idle) * random.uniform(0.5, 1.0))

    def _is_hopeless(self, progress_s: float, heard_bytes: int) -> bool:
        """Say whether to give up a connection that brought nothing since ``progress_s``."""
        if self._received_bytes > heard_bytes:
            return True  # others go on, so this one is too many; else the network is away
        waited_s = time.monotonic() - progress_s
        return self._received_bytes == 0 or waited_s >= self._pace.patience_s

    def _is_worth_a_try(self, error: RunnerError) -> bool:
        """Say whether to wait: for a download that has begun, the way to the server was there."""
        has_begun = self._received_bytes > 0 and error.kind is Kind.REGISTRY_UNAVAILABLE
        return is_passing(error) or (has_begun and error.details.get("cause") in COMES_BACK)

    def _may_be_the_range(self, error: RunnerError) -> bool:
        """Say whether to try without ranges: the answer to one was against the rules."""
        with self._changed:
            is_first = self._honours_ranges
            if error.details.get("cause") == Cause.ANSWER:
                self._honours_ranges, self._most_connections = False, 1
            return is_first and not self._honours_ranges

    def _stream(self, cursor: Cursor) -> bool:
        """Open a range and write what comes; False when this connection is one too many."""
        start = self._offset(cursor) if self._honours_ranges else 0
        end = cursor.claim.end * self._partial.block_bytes
        is_open_ended = end >= self._partial.size_bytes or not self._honours_ranges
        with self._open_range(start, None if is_open_ended else end) as stream:
            self._check_size(stream)
            if stream.start != start:
                with self._changed:
                    self._honours_ranges, self._most_connections = False, 1
                    if len(self._cursors) > 1:
                        return False
                if stream.start != 0:
                    raise self._wrong_start(start, stream.start)
                is_open_ended = True
            self._write(stream, cursor, is_open_ended=is_open_ended)
        return True

    def _write(self, stream: BlobStream, cursor: Cursor, *, is_open_ended: bool) -> None:
        """Write what the claim lacks of a stream, block by block, and skip the rest."""
        position = stream.start
        for chunk in stream.chunks():
            at, position = position, position + len(chunk)
            with self._changed:
                self._received_bytes += len(chunk)
            if position > self._partial.size_bytes:
                raise self._wrong_size("more")
            view = memoryview(chunk)
            while at <= (offset := self._offset(cursor)) < position:
                size = self._partial.block_size(cursor.claim.next) - cursor.filled_bytes
                piece = view[offset - at : offset - at + size]
                if self._stop.is_set() or not self._partial.write(piece, offset):
                    return
                cursor.crc = zlib.crc32(piece, cursor.crc)
                cursor.filled_bytes += len(piece)
                if len(piece) == size and not self._settle(cursor, is_open_ended=is_open_ended):
                    return
            if self._offset(cursor) < at:
                return  # its next claim is before what this stream still brings

    def _settle(self, cursor: Cursor, *, is_open_ended: bool) -> bool:
        """Note a whole block, and move on; False when this stream brings nothing more to write."""
        self._partial.settle(cursor.claim.next, cursor.crc)
        with self._changed:
            cursor.filled_bytes, cursor.crc = 0, 0
            self._claims.settle(cursor.claim)
            self._changed.notify_all()
            if cursor.claim.remaining:
                return True
            if is_open_ended and self._claims.prolong(cursor.claim, self._most_blocks):
                return True
        return not self._honours_ranges and self._take_next(cursor)

    def _offset(self, cursor: Cursor) -> int:
        return cursor.claim.next * self._partial.block_bytes + cursor.filled_bytes

    def _check_size(self, stream: BlobStream) -> None:
        # An empty answer is one that ended too early, whatever it says of itself.
        if stream.size_bytes not in (None, 0, self._partial.size_bytes):
            raise self._wrong_size(str(stream.size_bytes))

    def _wrong_size(self, got: str) -> RunnerError:
        return RunnerError(
            Kind.INTEGRITY,
            f"blob {self._partial.digest} has {self._partial.size_bytes} bytes by its manifest, "
            f"but the server sends {got}",
            hint="a proxy may answer in the registry's place, or the model was pushed damaged",
        )

    def _wrong_start(self, asked: int, got: int) -> RunnerError:
        return unavailable(
            Cause.BROKEN,
            f"asked for blob {self._partial.digest} from byte {asked} on, the server sent it "
            f"from {got} on",
            "a proxy or mirror in between mishandles ranges: try without it",
        )

    def _cut_off(self, offset: int) -> RunnerError:
        return unavailable(
            Cause.BROKEN,
            f"the server ended blob {self._partial.digest} at {offset} of "
            f"{self._partial.size_bytes} bytes, {self._pace.patience} times in a row",
            "run the same command again: what has arrived is kept",
        )
