"""A response body sent piece by piece."""

from __future__ import annotations

import time
from collections.abc import Callable

from runner.net.session import Session


class Stream:
    """What ``Exchange.open_stream`` returns. A stream that is not finished cuts the connection."""

    def __init__(
        self, session: Session, *, heartbeat: bytes, copy: Callable[[bytes], None] | None = None
    ) -> None:
        """``copy`` is told every piece, heartbeats included."""
        self.sent_bytes = 0
        self._copy = copy
        self.is_finished = False
        self._session = session
        self._http = session.http
        self._heartbeat = heartbeat
        self._was_quiet_since_s = time.monotonic()
        self._has_spoken = False  # since the last tick
        if heartbeat:
            session.beat = self._beat

    @property
    def is_behind(self) -> bool:
        """Whether :meth:`send` would wait, or raise."""
        return self._session.is_behind

    def write(self, data: bytes) -> None:
        """Send one piece now, whether or not the client is behind. Never raises."""
        self._has_spoken = True
        self.sent_bytes += len(data)
        if self._copy is not None:
            self._copy(data)
        self._session.write(self._http.send_data(data))

    async def send(self, data: bytes) -> None:
        """Send one piece now, and wait while the client is behind by the high-water mark.

        Raises ``RunnerError``: ``CANCELLED`` when the connection is lost, ``TIMEOUT`` when the
        client took nothing for ``Limits.write_stall_s`` (the connection is cut then).
        """
        self.write(data)
        if self._session.is_behind:
            await self._session.drained()

    async def finish(self) -> None:
        """End the body: the client knows that it is whole. Raises as :meth:`send` does."""
        self.is_finished = True
        self._session.beat = None
        self._session.write(self._http.send_end())
        await self._session.drained()

    def _beat(self, now_s: float) -> None:
        if self._has_spoken:
            self._has_spoken = False
            self._was_quiet_since_s = now_s
        elif now_s - self._was_quiet_since_s >= self._session.limits.heartbeat_s:
            self._was_quiet_since_s = now_s
            if not self._session.is_behind:
                self.write(self._heartbeat)
                self._has_spoken = False
