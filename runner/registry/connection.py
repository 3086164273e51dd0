"""Connections whose peer is checked after its name is resolved and before it is spoken to.

A name may mean another address each time it is looked up, so an address is checked at the one place
where it is used: here.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions
import urllib3.util.connection
from urllib3.util.retry import Retry

from runner.registry.address import Reach, literal_reach, may_lead, reach_of

MAX_CONNECTIONS = 16  # kept open to one server

Resolve = Callable[[str, int], Sequence[str]]
OnConnect = Callable[[socket.socket], None]


class ForbiddenAddress(OSError):
    """A server sent us to an address nearer than its own."""


class ProxyRefused(OSError):
    """A proxy answered CONNECT with another status than 2xx."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answered CONNECT with {status}")
        self.status = status


def resolve(host: str, port: int) -> Sequence[str]:
    """Look a name up, in the order the system prefers; raise socket.gaierror."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label is empty, or longer than names have them
        raise socket.gaierror(socket.EAI_NONAME, "it is not a name") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Gate:
    """What a chain of requests may connect to. ``home``: where it began; None: it begins here.

    ``address`` is the one that was connected to last; None before the first one. ``on_connect`` is
    told of each connection before anything is sent.
    """

    def __init__(
        self,
        home: Reach | None,
        lookup: Resolve,
        *,
        connect_s: float,
        on_connect: OnConnect | None = None,
    ) -> None:
        self._home = home
        self._lookup = lookup
        self._on_connect = on_connect
        self._connect_s = connect_s  # for each address
        self.address: str | None = None

    def connect(self, host: str, port: int, options: Any, *, stall_s: float) -> socket.socket:
        """Connect to the first address that answers; raise OSError.

        ``stall_s`` is the time limit of whatever is sent and received afterwards.
        """
        addresses = self._lookup(host, port)
        if any(not self._is_open(reach_of(address)) for address in addresses):
            raise ForbiddenAddress(host)
        connected = self._first(addresses, port, options)
        connected.settimeout(stall_s)
        if self._on_connect is not None:
            self._on_connect(connected)
        return connected

    def _first(self, addresses: Sequence[str], port: int, options: Any) -> socket.socket:
        failure: OSError = socket.gaierror(socket.EAI_NONAME, "the name has no address")
        for address in addresses:
            try:
                connected = urllib3.util.connection.create_connection(
                    (address, port), self._connect_s, socket_options=options
                )
            except OSError as error:
                failure = error
                continue
            self.address = address
            return connected
        raise failure

    def _is_open(self, reach: Reach) -> bool:
        return self._home is None or may_lead(self._home, reach)


class Kept:
    """Connections that another thread may end: a socket's own limit begins anew with each byte."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self.are_ended = False

    def add(self, connection: socket.socket) -> None:
        """Take note of a connection; one that comes after the end is ended at once."""
        with self._lock:
            # TLS takes the socket itself away from whoever holds it.
            self._handles.append(connection.dup())
            if self.are_ended:
                _shut(self._handles[-1])

    def end(self) -> None:
        """End them all; whoever reads from one finds it closed."""
        with self._lock:
            self.are_ended = True
            for handle in self._handles:
                _shut(handle)

    def close(self) -> None:
        """Forget them."""
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()


def _shut(handle: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side was first
        handle.shutdown(socket.SHUT_RDWR)


class Adapter(requests.adapters.HTTPAdapter):
    """The adapter of one origin: our connections, our trust; nothing retried, nothing followed."""

    def __init__(self, manager: urllib3.PoolManager, gate: Gate) -> None:
        super().__init__()
        self.max_retries = Retry(False)  # errors arrive as they are
        self.gate = gate
        self._manager = manager
        manager.pool_classes_by_scheme = _pool_classes(gate)

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> Any:
        """Return the pool; what is trusted is already in its manager."""
        return self._manager.connection_from_url(request.url)

    def cert_verify(self, *_: Any) -> None:
        """Leave the trust alone: the base class would put another bundle in its place."""

    def close(self) -> None:
        """Close what is idle."""
        super().close()
        self._manager.clear()


def _pool_classes(gate: Gate) -> dict[str, Any]:
    """Make the pools whose connections go through the gate; a proxy's own address is not asked."""

    class Checked(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            if self.proxy is not None:
                return super()._new_conn()
            try:
                # The time limit that urllib3 has for connecting is the one it sends with, too.
                return gate.connect(
                    self.host, int(self.port), self.socket_options, stall_s=float(self.timeout or 0)
                )
            except socket.gaierror as error:
                raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
            except TimeoutError as error:
                raise urllib3.exceptions.ConnectTimeoutError(self, "no answer") from error
            except OSError as error:
                raise urllib3.exceptions.NewConnectionError(self, str(error)) from error

        def _tunnel(self) -> None:
            """Ask the proxy for a tunnel: as the base does, with the status as a value."""
            authority = f"{_bracketed(self._tunnel_host or '')}:{self._tunnel_port}"
            headers = {"Host": authority, **self._tunnel_headers}  # type: ignore[attr-defined]
            lines = [f"CONNECT {authority} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
            self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
            answer = http.client.HTTPResponse(self.sock, method="CONNECT")
            try:
                answer.begin()
                if not 200 <= answer.status < 300:
                    self.close()
                    raise ProxyRefused(answer.status)
            finally:
                answer.close()

    class CheckedTls(Checked, urllib3.connection.HTTPSConnection):
        pass

    class Plain(urllib3.HTTPConnectionPool):
        ConnectionCls = Checked

    class Tls(urllib3.HTTPSConnectionPool):
        ConnectionCls = CheckedTls

        def _validate_conn(self, conn: Any) -> None:
            """Connect, without the warning of a host that its user called insecure by name."""
            if conn.is_closed:
                conn.connect()

    return {"http": Plain, "https": Tls}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def literal_is_forbidden(home: Reach, host: str) -> bool:
    """Tell whether a host that is an address itself is nearer than ``home`` may lead to."""
    reach = literal_reach(host)
    return reach is not None and not may_lead(home, reach)
