"""HTTP/1.1 and Server-Sent Events without IO: bytes in, events out; values in, bytes out.

Both roles obey one rule book (RFC 9110, RFC 9112), strictly: what two readers could understand
differently is refused. A client of ours looks like this::

    connection = http.Connection(http.Role.CLIENT)
    socket.sendall(connection.send_request("POST", "/v1/x", headers=headers, body=body))
    while (event := connection.next_event()) is not http.END_OF_MESSAGE:
        match event:
            case http.NEED_DATA:
                connection.receive(socket.recv(65536))      # b"" tells that the peer closed
            case http.Response(): ...
            case http.Data(): ...

Any bytes give events or :class:`ProtocolError`, nothing else; a wrong call of our own side is
:class:`LocalProtocolError`. The package imports neither ``dataclasses`` nor ``asyncio``: the CLI
starts with it.
"""

from __future__ import annotations

from runner.http import sse
from runner.http.connection import Connection, Phase, Role
from runner.http.escape import escape
from runner.http.events import (
    CONNECTION_CLOSED,
    END_OF_MESSAGE,
    NEED_DATA,
    PAUSED,
    Data,
    Event,
    Informational,
    LocalProtocolError,
    ProtocolError,
    Request,
    Response,
    Signal,
)
from runner.http.headers import Headers
from runner.http.limits import Limits
from runner.http.target import Host, parse_host

__all__ = [
    "CONNECTION_CLOSED",
    "END_OF_MESSAGE",
    "NEED_DATA",
    "PAUSED",
    "Connection",
    "Data",
    "Event",
    "Headers",
    "Host",
    "Informational",
    "Limits",
    "LocalProtocolError",
    "Phase",
    "ProtocolError",
    "Request",
    "Response",
    "Role",
    "Signal",
    "escape",
    "parse_host",
    "sse",
]
