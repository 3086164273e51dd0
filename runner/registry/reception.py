"""A body as it comes off the socket, in pieces worth handing on."""

from __future__ import annotations

import http.client
import time
from typing import Any

RECEIVE_BYTES = 1024 * 1024  # at once, where the socket has that much
GATHER_BYTES = 256 * 1024
GATHER_S = 0.05


class Reception:
    """Receives the body of a response of urllib3.

    Past urllib3, from the response of ``http.client`` below it: over TLS every receive is a record
    of 16 KiB, and urllib3 takes ten times as long over one as ``http.client`` does.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._source: http.client.HTTPResponse = raw._original_response
        self._failure: Exception | None = None

    def receive(self) -> bytes:
        """Return what arrives, empty at the end; raise OSError or http.client.HTTPException.

        Receives that follow each other closely are joined. A failure waits until what came before
        it has been handed on.
        """
        if self._failure is not None:
            raise self._failure
        pieces: list[bytes] = []
        size, deadline_s = 0, time.monotonic() + GATHER_S
        try:
            # One receive at a time: a fuller read would hide a drip, and a wish to stop.
            while piece := self._source.read1(RECEIVE_BYTES):
                pieces.append(piece)
                size += len(piece)
                if size >= GATHER_BYTES or time.monotonic() >= deadline_s:
                    break
            if not pieces:
                self._end()
        except (OSError, http.client.HTTPException) as error:
            if not pieces:
                raise
            self._failure = error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _end(self) -> None:
        """Give the connection back, unless the body is shorter than it was to be."""
        if self._source.length:
            raise http.client.IncompleteRead(b"", self._source.length)
        self._source.close()
        self._raw.release_conn()
