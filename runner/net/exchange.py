"""One request and its answer, as a handler sees them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from runner import http
from runner.errors import Kind, RunnerError
from runner.net.session import Session
from runner.net.site import Site
from runner.net.stream import Stream

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Exchange:
    """A request, who sent it, and the ways to answer it (exactly one of them, once).

    ``peer`` is ``"127.0.0.1:5000"`` or ``"unix"``; ``is_local`` is true for loopback addresses and
    unix sockets; ``local_address`` is the one of ours that it came to, without port, empty for unix
    sockets; ``request_id`` is the client's ``X-Request-Id`` when it is sane (up to 128 of
    ``A-Za-z0-9._-``), else made here. Every response carries it, with ``Date`` and ``Server``.
    """

    def __init__(self, session: Session, site: Site, request: http.Request) -> None:
        self.request = request
        self.peer = session.peer
        self.is_local = session.is_local
        self.local_address = session.local_address
        wished = request.headers.by_name.get("x-request-id")
        if wished is not None and _SANE_REQUEST_ID.fullmatch(wished):
            self.request_id = wished
        else:
            self.request_id = site.new_request_id()
        self.status: int | None = None  # of the response, once its head was sent
        self.stream: Stream | None = None  # the open one, or the finished one
        self.copy: Callable[[bytes], None] | None = None  # told the body of the answer, as sent
        self._session = session
        self._site = site
        self._body: bytes | None = None
        self._sent_bytes = 0

    async def read_body(self, limit_bytes: int) -> bytes:
        """Return the whole body; ``b""`` when there is none; the same again when asked again.

        Sends ``100 Continue`` when the client waits for it. Raises ``RunnerError`` ``TOO_LARGE``,
        before anything is buffered when the declared length is over the limit, else as soon as
        the body grows over it. Raises ``http.ProtocolError`` (400 malformed or cut short, 408 too
        slow), which the handler must let pass.
        """
        if self._body is None:
            self._body = await self._receive_body(limit_bytes)
        return self._body

    async def next_piece(self) -> bytes:
        """Return the next piece of a body of any size as it arrives; ``b""`` at its end.

        The client is held back while nobody asks. Answering gives up what was not read. Raises
        ``http.ProtocolError``: 400 malformed or cut short, 408 nothing came for ``Limits.body_s``.
        """
        connection = self._session.http
        if self.is_answered:
            raise http.LocalProtocolError("the body was given up when the answer began")
        if connection.expects_continue:
            self._session.write(connection.send_continue())
        while (event := connection.next_event()) is not http.END_OF_MESSAGE:
            if isinstance(event, http.Data):
                return event.data
            if event is http.PAUSED:
                break  # it was over before
            await self._session.more(
                time.monotonic() + self._site.limits.body_s, late="the body of the request stalled"
            )
        return b""

    async def respond(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes = b""
    ) -> None:
        """Send a whole response and wait until the client takes it.

        ``Content-Length``, ``Connection``, ``Date``, ``Server`` and ``X-Request-Id`` are added
        here. For HEAD the body is counted and not sent; for 204 and 304 it must be empty. Header
        values must be printable ASCII. A request body that was not read makes this the last
        response of the connection. Raises ``RunnerError``: ``CANCELLED``, ``TIMEOUT``.
        """
        self._send_head(status, headers, body)
        self._sent_bytes = len(body)
        if self.copy is not None:
            self.copy(body)
        if self._session.is_behind:
            await self._session.drained()

    async def open_stream(
        self, status: int, headers: Sequence[tuple[str, str]], *, heartbeat: bytes = b""
    ) -> Stream:
        """Send a head now, and return what sends the body: chunked, or until close for HTTP/1.0.

        ``heartbeat`` (``http.sse.HEARTBEAT``) is sent whenever nothing was for
        ``Limits.heartbeat_s``, by the server's one timer: it costs no task. For HEAD nothing but
        the head is sent, whatever the stream is given.
        """
        self._send_head(status, headers, None)
        self.stream = Stream(self._session, heartbeat=heartbeat, copy=self.copy)
        return self.stream

    async def wait_gone(self) -> None:
        """Return when the client has left: reset, or closed its sending side.

        A client that shuts down only its sending side and still reads (``nc -N``) cannot be told
        from one that left until something is written. As nginx and Go do, it counts as gone here,
        so that a handler with long work can give it up; but the connection stays open for
        writing, so that a handler that answers anyway is read. ``Stream.send`` and ``respond``
        fail only when the connection is really lost. While a body over
        ``Limits.read_high_water_bytes`` is not being read, leaving is not noticed.
        """
        await self._session.gone.wait()

    @property
    def is_stopping(self) -> bool:
        """Whether :meth:`wait_stopping` would return at once."""
        return self._site.is_draining

    async def wait_stopping(self) -> None:
        """Return when the server begins to stop."""
        await self._site.draining.wait()

    @property
    def is_gone(self) -> bool:
        """Whether :meth:`wait_gone` would return at once."""
        return self._session.gone.is_set()

    @property
    def body(self) -> bytes | None:
        """What :meth:`read_body` returned; None: it was not called."""
        return self._body

    @property
    def is_answered(self) -> bool:
        """Whether a head was sent."""
        return self.status is not None

    @property
    def sent_bytes(self) -> int:
        """How much of a body was sent, without framing."""
        return self._sent_bytes if self.stream is None else self.stream.sent_bytes

    def _send_head(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes | None
    ) -> None:
        connection = self._session.http
        connection.skip_body()
        data = connection.send_response(
            status,
            [*headers, *self._site.standard_fields(self.request_id)],
            body=body,
            close=self._site.is_draining,
        )
        self.status = status
        self._session.write(data)

    async def _receive_body(self, limit_bytes: int) -> bytes:
        connection = self._session.http
        if self.is_answered:
            raise http.LocalProtocolError("the body was given up when the answer began")
        if (connection.declared_length or 0) > limit_bytes:
            raise _too_large(limit_bytes)
        if connection.expects_continue:
            self._session.write(connection.send_continue())
        pieces: list[bytes] = []
        size_bytes = 0
        started_s = time.monotonic()
        while (event := connection.next_event()) is not http.END_OF_MESSAGE:
            if isinstance(event, http.Data):
                pieces.append(event.data)
                size_bytes += len(event.data)
                if size_bytes > limit_bytes:
                    raise _too_large(limit_bytes)
            else:
                await self._session.more(
                    started_s + self._patience_s(size_bytes),
                    late="the body of the request took too long",
                )
        return b"".join(pieces)

    def _patience_s(self, size_bytes: int) -> float:
        """How long a body may have taken that has come this far."""
        limits = self._site.limits
        return min(limits.body_s, limits.body_grace_s + size_bytes / limits.body_floor_bytes_per_s)


def _too_large(limit_bytes: int) -> RunnerError:
    return RunnerError(
        Kind.TOO_LARGE,
        f"the request body is over the limit of {limit_bytes} bytes",
        details={"limit_bytes": limit_bytes},
    )
