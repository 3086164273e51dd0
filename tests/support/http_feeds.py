"""Three ways to give the same bytes to a connection; none may change what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from runner import http

TAIL = b"GET /tail HTTP/1.1\r\nHost: tail\r\n\r\n"


class Outcome(NamedTuple):
    """All that one message told, with the pieces of its body joined."""

    head: http.Request | http.Response | None
    body: bytes
    is_whole: bool
    status: int | None  # of the ProtocolError that ended it
    message: str = ""


def drain(connection: http.Connection) -> tuple[list[http.Event], http.ProtocolError | None]:
    """Take all events that are there, without the signal that asks for more."""
    events: list[http.Event] = []
    try:
        while (event := connection.next_event()) not in (
            http.NEED_DATA,
            http.PAUSED,
            http.CONNECTION_CLOSED,
        ):
            events.append(event)
    except http.ProtocolError as fault:
        return events, fault
    return events, None


def outcome_of(connection: http.Connection, pieces: Iterable[bytes]) -> Outcome:
    """Feed pieces one by one and sum up."""
    events: list[http.Event] = []
    for piece in pieces:
        connection.receive(piece)
        found, fault = drain(connection)
        events += found
        if fault is not None:
            return _sum_up(events, fault)
    return _sum_up(events, None)


def _sum_up(events: list[http.Event], fault: http.ProtocolError | None) -> Outcome:
    heads = [event for event in events if isinstance(event, http.Request | http.Response)]
    assert len(heads) <= 1
    assert all(event.data for event in events if isinstance(event, http.Data))
    return Outcome(
        heads[0] if heads else None,
        b"".join(event.data for event in events if isinstance(event, http.Data)),
        http.END_OF_MESSAGE in events,
        fault.status if fault else None,
        fault.message if fault else "",
    )


Feed = Callable[[http.Connection, bytes], Outcome]


def whole(connection: http.Connection, data: bytes) -> Outcome:
    return outcome_of(connection, [data])


def byte_by_byte(connection: http.Connection, data: bytes) -> Outcome:
    return outcome_of(connection, [data[at : at + 1] for at in range(len(data))])


def with_tail(connection: http.Connection, data: bytes) -> Outcome:
    """Let the bytes of a next message follow at once; a whole message leaves them alone."""
    outcome = outcome_of(connection, [data + TAIL])
    if outcome.is_whole:
        assert connection.buffered_bytes == len(TAIL)
    return outcome


FEEDS: list[Feed] = [whole, byte_by_byte, with_tail]


def server(limits: http.Limits | None = None) -> http.Connection:
    return http.Connection(http.Role.SERVER, limits)


def client(limits: http.Limits | None = None) -> http.Connection:
    return http.Connection(http.Role.CLIENT, limits)


def request(*lines: str, first: str = "POST / HTTP/1.1", body: bytes = b"") -> bytes:
    """Render a request from its lines as they are, however wrong."""
    head = "".join(f"{line}\r\n" for line in (first, *lines))
    return f"{head}\r\n".encode("latin-1") + body
