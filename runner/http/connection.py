"""One side of one HTTP/1.1 connection as a state machine that never reads, writes or waits.

Each direction is in a :class:`Phase`, and the tables below it are the whole law of moves. The
inbound phase chooses the reader; the outbound phase says which ``send_`` is legal. A move that the
tables lack is a :class:`LocalProtocolError`: our own bug. A peer cannot make one, for what it
sends is only read in phases where it may be sent.

A message is over when both directions are ``DONE``; :meth:`Connection.next_cycle` then makes way
for the next one. Bytes of a pipelined request wait in the buffer until then.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial

from runner.http import framing, writer
from runner.http.buffer import ReceiveBuffer
from runner.http.events import (
    CONNECTION_CLOSED,
    END_OF_MESSAGE,
    NEED_DATA,
    PAUSED,
    Event,
    Informational,
    LocalProtocolError,
    ProtocolError,
    Signal,
)
from runner.http.head import RequestHeads, ResponseHeads, request_heads, response_heads
from runner.http.limits import Limits
from runner.http.reader import Reader, body_reader, read_nothing

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Role(StrEnum):
    """Which side we are."""

    CLIENT = "client"
    SERVER = "server"


class Phase(StrEnum):
    """Where one direction is within a message."""

    HEAD = "head"  # the next thing is a head
    BODY = "body"
    DONE = "done"  # the message is over
    CLOSED = "closed"  # nothing more comes
    BROKEN = "broken"  # what comes can no longer be understood


# The law of moves, the same for both directions and both roles: from which phase to which. Bound to
# names because an attribute of an Enum costs 0.2 us in Python 3.11, and a request makes many moves.
_HEAD, _BODY, _DONE, _CLOSED, _BROKEN = Phase
_INTERIM = {_HEAD: _HEAD}
_BEGIN = {_HEAD: _BODY}
_DATA = {_BODY: _BODY}
_END = {_BODY: _DONE}
_CYCLE = {_DONE: _HEAD}
_CLOSE = {_HEAD: _CLOSED}
_FAULT = {_HEAD: _BROKEN, _BODY: _BROKEN, _DONE: _BROKEN, _BROKEN: _BROKEN}


class Connection:
    """Turns received bytes into events, and what we want to say into bytes to send.

    ``receive`` takes bytes (``b""``: the peer sends no more), ``next_event`` gives events one by
    one until it gives ``NEED_DATA``. After a :class:`ProtocolError` a server may still send
    one response; nothing more is read. A response sent before the request's end is the last one.
    """

    def __init__(self, role: Role, limits: Limits | None = None) -> None:
        self._role = role
        self._limits = limits or Limits()
        self._buffer = ReceiveBuffer()
        self._inbound = _HEAD
        self._outbound = _HEAD
        self._body: Reader = read_nothing
        self._read_head: Callable[[], Event]
        self._fault: ProtocolError | None = None
        self._method = ""  # of the request in this cycle
        self._peer_version = (1, 1)
        self._is_chunked = False  # the outbound body
        self._is_mute = False  # no outbound body bytes, whatever is sent: the answer to HEAD
        self.keep_alive = True  # both sides want another cycle
        self.expects_continue = False  # the client waits for send_continue() before its body
        self.declared_length: int | None = None  # Content-Length of the inbound message
        if role is Role.SERVER:
            self._read_head = partial(self._read_request, request_heads(self._limits))
        else:
            self._limits = self._limits._replace(max_chunks=None)  # a stream may last
            self._read_head = partial(self._read_response, response_heads(self._limits))

    # ---- receiving -------------------------------------------------------------------------------

    @property
    def inbound(self) -> Phase:
        """Where the peer's message is."""
        return self._inbound

    @property
    def buffered_bytes(self) -> int:
        """How many bytes were received and not yet read."""
        return len(self._buffer)

    def receive(self, data: bytes | memoryview) -> None:
        """Take bytes from the peer (they are copied); ``b""`` says that it has closed its side."""
        if data:
            self._buffer.append(data)
        else:
            self._buffer.is_eof = True

    def next_event(self) -> Event:
        """Return the next event of the inbound message; raise :class:`ProtocolError`."""
        phase = self._inbound
        try:
            if phase is _HEAD:
                return self._read_head()
            if phase is _BODY:
                return self._read_body()
        except ProtocolError as fault:
            self.abandon(fault)
            raise
        if phase is _DONE:
            return PAUSED
        if self._fault is not None:
            raise self._fault
        return CONNECTION_CLOSED

    def abandon(self, fault: ProtocolError) -> None:
        """Read nothing more from the peer: it broke the rules, or took too long."""
        self._fault = fault
        self._inbound = _FAULT[self._inbound]
        self.keep_alive = False
        self.expects_continue = False

    def skip_body(self) -> None:
        """Drop what has come of a body that nobody wants, so that the connection may live on."""
        if self._inbound is _BODY and self._body is read_nothing:
            self._inbound = _END[self._inbound]
        try:
            while self._inbound is _BODY:
                if self.next_event() is NEED_DATA:
                    return
        except ProtocolError:
            return  # broken now, and so the coming response is the last

    def _read_request(self, heads: RequestHeads) -> Event:
        if not self._buffer or (head := heads.read(self._buffer)) is None:
            return self._no_head()
        request, (body, self.keep_alive, self.expects_continue) = head
        self._peer_version = request.version
        self._method = request.method
        self._begin_body(body)
        return request

    def _read_response(self, heads: ResponseHeads) -> Event:
        if self._outbound is _HEAD and self._buffer:
            raise ProtocolError(502, "the server sent something before it was asked")
        if not self._buffer or (response := heads.read(self._buffer)) is None:
            return self._no_head()
        if isinstance(response, Informational):
            return response
        self._peer_version = response.version
        body = framing.response_framing(response, self._method)
        self._begin_body(body)
        if body.kind is framing.Kind.UNTIL_CLOSE or not framing.is_persistent(
            response.headers, response.version
        ):
            self.keep_alive = False
        return response

    def _no_head(self) -> Signal:
        if not self._buffer.is_eof:
            return NEED_DATA
        if self._buffer:
            raise ProtocolError(400, "the connection was closed in the middle of a head")
        if self._role is Role.CLIENT and self._outbound is not _HEAD:
            raise ProtocolError(502, "the server closed the connection without an answer")
        self._inbound = _CLOSE[self._inbound]
        self.keep_alive = False
        return CONNECTION_CLOSED

    def _begin_body(self, body: framing.Framing) -> None:
        self._inbound = _BEGIN[self._inbound]
        self._body = (
            body_reader(body, self._limits) if body is not framing.NO_BODY else read_nothing
        )
        self.declared_length = body.length if body.kind is framing.Kind.LENGTH else None

    def _read_body(self) -> Event:
        event = self._body(self._buffer)
        if event is END_OF_MESSAGE:
            self._inbound = _END[self._inbound]
            self.expects_continue = False
        return event

    # ---- sending ---------------------------------------------------------------------------------

    def send_request(
        self,
        method: str,
        target: str,
        *,
        headers: writer.Fields,
        body: bytes | None = b"",
    ) -> bytes:
        """Render a request; with ``body=None`` a chunked body follows by ``send_data``.

        ``headers`` must hold ``Host``; the fields that frame the message are added here.
        """
        if self._role is not Role.CLIENT:
            raise LocalProtocolError("only a client sends requests")
        phase = self._after(_BEGIN)
        lines = framing.request_lines(method, None if body is None else len(body))
        head = writer.render_head(writer.request_line(method, target), headers, lines)
        self._method = method
        self._is_chunked = body is None
        if body is None:
            self._outbound = phase
            return head
        self._outbound = _END[phase]
        return head + body

    def send_response(
        self,
        status: int,
        headers: writer.Fields,
        *,
        body: bytes | None = b"",
        close: bool = False,
    ) -> bytes:
        """Render a final response; with ``body=None`` the body follows by ``send_data``.

        ``close`` makes it the last one of the connection. To HEAD the body is only counted.
        """
        if self._role is not Role.SERVER or self._inbound is _HEAD:
            raise LocalProtocolError("only a server sends responses, and after a request")
        if framing.is_bodiless(status) and (status < 200 or body != b""):
            raise LocalProtocolError(f"a final response of status {status} has no such body")
        phase = self._after(_BEGIN)
        is_chunked = body is None and self._peer_version == (1, 1)
        keep_alive = (
            self.keep_alive
            and not close
            and self._inbound is _DONE
            and (body is not None or is_chunked)  # else only the close tells the body's end
        )
        lines = framing.response_lines(
            status,
            None if body is None else len(body),
            version=self._peer_version,
            keep_alive=keep_alive,
        )
        head = writer.render_head(writer.status_line(status), headers, lines)
        self.keep_alive = keep_alive
        self._is_chunked = is_chunked
        self._is_mute = self._method == "HEAD"
        if body is None:
            self._outbound = phase
            return head
        self._outbound = _END[phase]
        return head if self._is_mute else head + body

    def send_continue(self) -> bytes:
        """Render the ``100 Continue`` that the client waits for."""
        if not self.expects_continue:
            raise LocalProtocolError("nobody waits for 100 Continue")
        self._outbound = self._after(_INTERIM)
        self.expects_continue = False
        return _CONTINUE

    def send_data(self, data: bytes) -> bytes:
        """Render a piece of a body of unknown length; empty data renders nothing."""
        if self._outbound not in _DATA:
            raise self._out_of_place()
        if self._is_mute or not data:  # an empty chunk would end the body
            return b""
        return b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data

    def send_end(self) -> bytes:
        """Render the end of a body of unknown length."""
        self._outbound = self._after(_END)
        return writer.LAST_CHUNK if self._is_chunked and not self._is_mute else b""

    @property
    def may_cycle(self) -> bool:
        """Whether this message is over and both sides want another one."""
        return self.keep_alive and self._inbound is _DONE and self._outbound is _DONE

    def next_cycle(self) -> None:
        """Begin the next request and response on this connection."""
        if not self.may_cycle:
            raise LocalProtocolError("the message is not over, or it is the connection's last")
        self._inbound = _CYCLE[self._inbound]
        self._outbound = _CYCLE[self._outbound]
        self._method = ""

    def _after(self, move: dict[Phase, Phase]) -> Phase:
        phase = move.get(self._outbound)
        if phase is None:
            raise self._out_of_place()
        return phase

    def _out_of_place(self) -> LocalProtocolError:
        return LocalProtocolError(f"that cannot be sent in phase {self._outbound}")
