"""The daemon as the CLI sees it: requests over a plain socket, one connection each."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import runner
from runner import http
from runner.cli.endpoint import Endpoint, find_endpoints
from runner.cli.trace import Trace
from runner.cli.trust import secure
from runner.errors import Kind, RunnerError
from runner.places import clean, parse_key

API_KEY_VARIABLE = "RUNNER_API_KEY"
CONNECT_S = 5.0
REPLY_S = 60.0  # for the next bytes of an answer; streams of the daemon have heartbeats
LONG_REPLY_S = 3600.0  # for work that is done before a byte is sent: hashing a large file

_RECEIVE_BYTES = 64 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_MAX_ERROR_CHARACTERS = 500


class NoDaemon(RunnerError):
    """Nothing listens at any address where the daemon may be."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(
            Kind.UNAVAILABLE,
            f"no daemon answers at {endpoint}",
            hint="start one: python -m runner serve",
        )


class Reply:
    """An answer whose head has arrived. Iterate for the pieces of its body."""

    def __init__(self, head: http.Response, pieces: Iterator[bytes]) -> None:
        self.status = head.status
        self.headers = head.headers
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


class Remote:
    """Requests to the first of some addresses that accepts a connection.

    Every method raises RunnerError: :class:`NoDaemon`, TIMEOUT, UNAVAILABLE when the connection
    breaks, and the daemon's own errors with their kinds.
    """

    trace: Trace | None = None  # told of every request

    def __init__(self, candidates: Sequence[Endpoint], *, api_key: str = "") -> None:
        self._candidates = list(candidates)
        self._api_key = api_key

    @property
    def endpoint(self) -> Endpoint:
        """The address that answered, else the last one to be tried."""
        return self._candidates[-1]

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Sequence[tuple[str, str]] = (),
        timeout_s: float = REPLY_S,
    ) -> Any:
        """Send a request and return the answer's JSON; ``None`` for an empty answer."""
        with self.stream(method, path, body, headers=headers, timeout_s=timeout_s) as reply:
            content = b"".join(reply)
        try:
            return json.loads(content) if content else None
        except ValueError:
            raise self._broken("it is not JSON") from None

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Sequence[tuple[str, str]] = (),
        timeout_s: float = REPLY_S,
    ) -> Iterator[Reply]:
        """Send a request and give the answer while it arrives; leaving closes the connection.

        A body is sent as JSON; one of bytes as they come, of any size, as an archive.
        ``timeout_s`` bounds the wait for each next piece.
        """
        with self._connect() as connected:
            connected.settimeout(timeout_s)
            fields = [*self._fields(body), *headers]
            connection = http.Connection(http.Role.CLIENT)
            target = self._target(path)
            request = connection.send_request(method, target, headers=fields, body=_encode(body))
            began_s = time.monotonic()
            if self.trace is not None:
                self.trace.sent(self.endpoint, method, target, body)
            with self._translated(timeout_s):
                # A server may refuse a request before it has read it all: then its answer counts.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connected.sendall(request)
                    if isinstance(body, Iterator):
                        _send_pieces(connection, connected, body)
                events = _events(connection, connected)
                head = next(event for event in events if isinstance(event, http.Response))
            if self.trace is not None:
                self.trace.answered(head, time.monotonic() - began_s)
            pieces = self._pieces(events, timeout_s)
            if head.status >= 300:
                raise self._refused(head, _read_some(pieces, _MAX_ERROR_BYTES))
            yield Reply(head, pieces)

    def _connect(self) -> socket.socket:
        cause = OSError("no address is known")
        for endpoint in self._candidates:
            try:
                connected = _open(endpoint)
            except OSError as error:
                cause = error
                continue
            self._candidates = [endpoint]
            return connected
        raise self._absent(cause)

    # ---- what another server than ours has otherwise ---------------------------------------------

    def _target(self, path: str) -> str:
        return path

    def _absent(self, cause: OSError) -> RunnerError:
        return NoDaemon(self.endpoint)

    def _refused(self, head: http.Response, content: bytes) -> RunnerError:
        return read_error(head.status, content)

    def _fields(self, body: Any) -> Iterator[tuple[str, str]]:
        yield "Host", self.endpoint.authority
        yield "User-Agent", f"runner-cli/{runner.__version__}"
        yield "Accept", "application/json"
        if self._api_key:
            yield "Authorization", f"Bearer {self._api_key}"
        if isinstance(body, Iterator):
            yield "Content-Type", "application/x-tar"
        elif body is not None:
            yield "Content-Type", "application/json"

    def _pieces(self, events: Iterator[http.Event], timeout_s: float) -> Iterator[bytes]:
        with self._translated(timeout_s):
            for event in events:
                if isinstance(event, http.Data):
                    yield event.data

    @contextmanager
    def _translated(self, timeout_s: float) -> Iterator[None]:
        """Turn what sockets and parsers raise into our errors."""
        try:
            yield
        except TimeoutError:
            raise RunnerError(
                Kind.TIMEOUT, f"{self.endpoint} sent nothing for {timeout_s:g} s"
            ) from None
        except OSError as error:
            raise self._broken(error.strerror or str(error)) from None
        except http.ProtocolError as error:
            raise self._broken(error.message) from None

    def _broken(self, reason: str) -> RunnerError:
        return RunnerError(
            Kind.UNAVAILABLE,
            f"no whole answer from {self.endpoint}: {reason}",
            hint="see: python -m runner logs",
        )


def connect(env: Mapping[str, str], host_flag: str | None = None) -> Remote:
    """Return the daemon that this environment points to; nothing is sent yet."""
    return Remote(find_endpoints(env, host_flag), api_key=read_key(env, API_KEY_VARIABLE))


def read_key(env: Mapping[str, str], variable: str) -> str:
    """Return the key that a variable holds, as it is, or nothing. Raises RunnerError(USAGE)."""
    text = clean(env.get(variable))
    try:
        return parse_key(text) if text else ""
    except ValueError as expected:  # the key itself stays out of the message
        raise RunnerError(Kind.USAGE, f"{variable}: expected {expected}") from None


def model_path(name: str, *, under: str = "/models") -> str:
    """Return the route of one model, whose name may hold slashes.

    Raises RunnerError(USAGE) for an empty name, which would be the route of all models.
    """
    return f"{under}/{percent_encode(require_name(name))}"


def require_name(name: str) -> str:
    """Return a model's name; RunnerError(USAGE) for an empty one, as unset variables make."""
    if not name.strip():
        raise RunnerError(Kind.USAGE, "the name of the model is empty", hint="see: runner list")
    return name


def percent_encode(text: str) -> str:
    """Encode what a path or query may not hold; ``/``, ``:`` and ``@`` stay readable."""
    return "".join(
        chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@")


def read_error(status: int, content: bytes) -> RunnerError:
    """Build the error that an answer tells: OpenAI's JSON, else its first line."""
    text = content.decode("utf-8", "replace").strip()
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        error = text.partition("\n")[0][:_MAX_ERROR_CHARACTERS] or f"status {status}"
    return build_error(status, error)


def build_error(status: int, error: Any) -> RunnerError:
    """Build the error of OpenAI's ``error`` member; an unknown code leaves the status to tell."""
    members = error if isinstance(error, dict) else {}
    kind = _kind(status, members.get("code"))
    hint = f"set {API_KEY_VARIABLE} to a key of this server"
    return RunnerError(
        kind,
        str(members.get("message", error)),
        hint=hint if kind is Kind.UNAUTHENTICATED else None,
        param=members.get("param"),
    )


def _kind(status: int, code: Any) -> Kind:
    try:
        return Kind(code)
    except ValueError:
        return _KINDS.get(status, Kind.INVALID_REQUEST if status < 500 else Kind.INTERNAL)


_KINDS = {
    401: Kind.UNAUTHENTICATED,
    403: Kind.FORBIDDEN,
    404: Kind.NOT_FOUND,
    409: Kind.CONFLICT,
    503: Kind.UNAVAILABLE,
    504: Kind.TIMEOUT,
}


def _encode(body: Any) -> bytes | None:
    """Encode a body as JSON; None: it follows piece by piece."""
    if isinstance(body, Iterator):
        return None
    return b"" if body is None else json.dumps(body).encode()


def _send_pieces(
    connection: http.Connection, connected: socket.socket, pieces: Iterator[bytes]
) -> None:
    for piece in pieces:
        connected.sendall(connection.send_data(piece))
        if select.select([connected], [], [], 0)[0]:
            said = _receive_ready(connected)
            if said is not None:
                connection.receive(said)
                return  # the answer is there: the rest is not wanted
    connected.sendall(connection.send_end())


def _receive_ready(connected: socket.socket) -> bytes | None:
    """Return what has come of the answer; None where TLS talks of itself, as of its tickets."""
    import ssl  # archives alone come here, which take longer

    timeout_s = connected.gettimeout()
    connected.setblocking(False)
    try:
        return connected.recv(_RECEIVE_BYTES)
    except (BlockingIOError, ssl.SSLWantReadError):
        return None
    finally:
        connected.settimeout(timeout_s)


def _open(endpoint: Endpoint) -> socket.socket:
    if endpoint.port is None:
        return _connect_to(socket.AF_UNIX, endpoint.host)
    is_numeric = endpoint.host.replace(".", "").isdigit()
    if is_numeric and not endpoint.is_tls:  # saves the import of IDNA that names bring
        return _connect_to(socket.AF_INET, (endpoint.host, endpoint.port))
    connected = socket.create_connection((endpoint.host, endpoint.port), timeout=CONNECT_S)
    return secure(connected, endpoint.host, endpoint.trust) if endpoint.is_tls else connected


def _connect_to(family: socket.AddressFamily, address: str | tuple[str, int]) -> socket.socket:
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.settimeout(CONNECT_S)
        connected.connect(address)
    except OSError:
        connected.close()
        raise
    return connected


def _events(connection: http.Connection, connected: socket.socket) -> Iterator[http.Event]:
    """Yield the events of one answer, without those that only ask for bytes."""
    while (event := connection.next_event()) is not http.Signal.END_OF_MESSAGE:
        if event is http.Signal.NEED_DATA:
            connection.receive(connected.recv(_RECEIVE_BYTES))
        else:
            yield event


def _read_some(pieces: Iterator[bytes], limit_bytes: int) -> bytes:
    content = b""
    for piece in pieces:
        content += piece
        if len(content) >= limit_bytes:
            break
    return content
