"""Computes the rows of images and sounds in a thread of its own, before the engine sees a request.

An encoder takes seconds where a step takes milliseconds: it runs beside them, at a lower priority.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from runner.binding import NativeError
from runner.errors import Kind
from runner.wire.messages import Failed, RequestId
from runner.worker.media import Encoded, Key, Unencoded
from runner.worker.prompts import Prepared

CACHE_BYTES = 256 * 1024 * 1024
NICE = 10  # the encoder's threads get what the engine's leave

LOG = logging.getLogger(__name__)

Rows = NDArray[np.float32]


class RowCache:
    """Rows by content, least recently used first; one thread owns it."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._rows: OrderedDict[Key, Rows] = OrderedDict()
        self.bytes = 0

    def get(self, key: Key) -> Rows | None:
        """Return rows, now the last to go."""
        if key in self._rows:
            self._rows.move_to_end(key)
        return self._rows.get(key)

    def put(self, key: Key, rows: Rows) -> None:
        """Keep rows that are not here; what no longer fits goes."""
        self._rows[key] = rows
        self.bytes += rows.nbytes
        while self.bytes > self._limit_bytes:
            self.bytes -= self._rows.popitem(last=False)[1].nbytes


class Encoding:
    """The step between preparing a request and the engine, for those with media.

    Every request that is taken ends in one call of ``deliver`` or of ``refuse``, unless
    :meth:`cancel` took it back; ``discard`` gets what is then of no use.
    """

    def __init__(
        self,
        *,
        deliver: Callable[[Prepared], None],
        refuse: Callable[[Failed], None],
        discard: Callable[[Prepared], None],
        cache: RowCache | None = None,
    ) -> None:
        self._deliver = deliver
        self._refuse = refuse
        self._discard = discard
        self._cache = cache or RowCache()
        self._changed = threading.Condition()
        self._queue: deque[Prepared] = deque()
        self._open: set[RequestId] = set()  # neither delivered nor refused yet

    def __len__(self) -> int:
        return len(self._open)

    def take(self, prepared: Prepared) -> None:
        """Pass a request on, after its media are encoded if it has any. Any thread."""
        if prepared.media is None:
            self._deliver(prepared)
            return
        with self._changed:
            self._open.add(prepared.request.id)
            self._queue.append(prepared)
            self._changed.notify()

    def cancel(self, id: RequestId) -> bool:
        """Take a request back; False when it is not here (any more)."""
        with self._changed:
            is_here = id in self._open
            self._open.discard(id)
            return is_here

    def run(self) -> None:
        """Encode for ever. For one thread, which computes with fewer rights than the engine."""
        if sys.platform == "linux":  # elsewhere a priority is the whole process's
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                prepared = self._queue.popleft()
            self.handle(prepared)

    def handle(self, prepared: Prepared) -> None:
        """Encode one request and pass it on, unless somebody took it back meanwhile."""
        assert prepared.media is not None
        made: Prepared | Failed | None
        try:
            made = self._encode(prepared, prepared.media)
        except (NativeError, MemoryError) as error:
            LOG.error("media could not be encoded: %s", error)
            message = f"an image or a sound could not be encoded: {error}"
            made = Failed(prepared.request.id, Kind.INTERNAL.value, message)
        finally:
            prepared.media.parts.close()
        # Delivered under the lock: a cancel that comes after finds the request at the engine.
        with self._changed:
            if prepared.request.id in self._open:
                self._open.remove(prepared.request.id)
                if isinstance(made, Prepared):
                    self._deliver(made)
                    return
                if made is not None:
                    self._refuse(made)
        self._discard(prepared)

    def _encode(self, prepared: Prepared, media: Unencoded) -> Prepared | None:
        """Compute what no earlier request had; None when nobody waits for it any more."""
        spans = []
        for piece in media.pieces:
            rows = self._cache.get(piece.key)
            if rows is None:
                if prepared.request.id not in self._open:
                    return None
                rows = media.parts.encode(piece.part)
                self._cache.put(piece.key, rows)
            spans.append(replace(piece.span, content=Encoded(rows, piece.columns)))
        request = replace(prepared.request, spans=tuple(spans))
        return replace(prepared, request=request, media=None)
