"""Where the daemon may be: an address, the addresses worth trying, and the state file's grammar."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from runner import places
from runner.cli.contexts import read_contexts
from runner.cli.trust import TLS_VARIABLE, Trust, Wish, read_wish
from runner.errors import Kind, RunnerError
from runner.places import DEFAULT_HOST, DEFAULT_PORT, STATE_FILE_NAME, clean, parse_port

HOST_VARIABLE = "MODEL_RUNNER_HOST"
PORT_VARIABLE = "MODEL_RUNNER_PORT"
SOCKET_VARIABLE = "MODEL_RUNNER_SOCK"

CONTAINER_HOST = "host.docker.internal"  # Docker Desktop's name for the machine it runs on

_LABEL = "[0-9A-Za-z_-]{1,63}"  # of a name; what is longer has no place in DNS (RFC 1035)
_AUTHORITY = re.compile(
    rf"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>{_LABEL}(?:\.{_LABEL})*\.?))"
    r"(?::(?P<port>[0-9]+))?/?"
)
_GRAMMAR = "http(s)://HOST:PORT, HOST:PORT or unix:PATH"
_NO_WISH = Wish()
# Where a server listens that takes all comers is no name that one calls it by.
_LOOPBACK = {"0.0.0.0": DEFAULT_HOST, "::": "::1"}


class Endpoint(NamedTuple):
    """A TCP address, or a unix socket's path with no port."""

    host: str
    port: int | None
    is_tls: bool = False
    trust: Trust = Trust()  # where there is TLS

    def __str__(self) -> str:
        if self.port is None:
            return f"unix:{self.host}"
        return f"http{'s' if self.is_tls else ''}://{self.authority}"

    @property
    def authority(self) -> str:
        """The Host field (RFC 9110 section 7.2); a socket file has no name: localhost."""
        if self.port is None:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_here(self) -> bool:
        """Whether a daemon started on this machine would answer there."""
        return self.port is None or self.host in ("127.0.0.1", "localhost", "::1")


def parse_endpoint(text: str, source: str, wish: Wish = _NO_WISH) -> Endpoint:
    """Parse an address; ``source`` is the flag or variable it came from, for the error.

    A URL without a port means 80 or, with TLS, 443, as everywhere; a bare host means the daemon's
    port, or 443. A wish for TLS makes ``http://`` an ``https://``. The unspecified address means
    this machine's loopback.
    """
    if text.startswith("unix:"):
        if wish.is_tls:
            raise RunnerError(
                Kind.USAGE,
                f"{source}: there is no TLS on a socket file, {text}",
                hint=f"name http(s)://HOST:PORT, or set {TLS_VARIABLE}=false",
            )
        path = text.removeprefix("unix:")
        return Endpoint("/" + path.lstrip("/") if path.startswith("//") else path, None)
    scheme, separator, rest = text.rpartition("://")
    match = _AUTHORITY.fullmatch(rest)
    if match is None or scheme not in ("", "http", "https"):
        raise _refuse(source, text)
    host = (match["ipv6"] or match["name"]).lower()
    host = _LOOPBACK.get(host, host)
    is_tls = wish.is_tls or scheme == "https"
    default = "443" if is_tls else "80" if separator else str(DEFAULT_PORT)
    trust = wish.trust if is_tls else Trust()
    try:
        return Endpoint(host, parse_port(match["port"] or default), is_tls, trust)
    except ValueError:
        raise _refuse(source, text) from None


def explicit_endpoint(env: Mapping[str, str], host_flag: str | None) -> Endpoint | None:
    """Return the address that the user asked for by name, if any: flag, variable or context."""
    if flag := clean(host_flag):
        return parse_endpoint(flag, "--host", read_wish(env))
    if text := clean(env.get(HOST_VARIABLE)):
        return parse_endpoint(text, HOST_VARIABLE, read_wish(env))
    contexts = read_contexts(env)
    if not (host := contexts.host):
        return None
    wish = read_wish(env, contexts.contexts[contexts.current].get("tls"))
    return parse_endpoint(host, f'context "{contexts.current}"', wish)


def find_endpoints(env: Mapping[str, str], host_flag: str | None = None) -> list[Endpoint]:
    """List the addresses to try, the likeliest first; never empty.

    An address given by name is the only one. Otherwise: the unix socket that the daemon makes by
    default, then where the last one started here said it listens, then the fixed port.
    """
    if explicit := explicit_endpoint(env, host_flag):
        return [explicit]
    port = default_port(env)
    candidates: list[Endpoint] = []
    with suppress(RunnerError):  # without a home, nothing of ours is in it
        candidates += _sockets(env, port)
        if not clean(env.get(PORT_VARIABLE)):
            candidates += _announced(env)
    return [*dict.fromkeys([*candidates, Endpoint(DEFAULT_HOST, port)])]


def tcp_address(used: Endpoint, candidates: Sequence[Endpoint]) -> Endpoint:
    """Return an address that other programs can use: SDKs speak to ports, not to socket files."""
    if used.port is not None:
        return used
    return next((address for address in candidates if address.port is not None), used)


def container_address(
    env: Mapping[str, str],
    host_flag: str | None,
    own: Endpoint,
    platform: str = sys.platform,
) -> Endpoint:
    """Return where containers of this machine reach the daemon whose address is ``own``.

    An address that was given by name is taken to be theirs, too. Where containers live in a virtual
    machine, its name for this machine leads to our loopback. Else it is the bridge that the daemon
    listens on; without one, the best that can be said is ``own``.
    """
    named = explicit_endpoint(env, host_flag)
    if named is not None and not named.is_here:
        return own
    if platform != "linux":
        return own._replace(host=CONTAINER_HOST)
    state = read_state(env)
    bridges = [parse_endpoint(url, STATE_FILE_NAME) for url in (state.bridges if state else ())]
    return next((bridge for bridge in bridges if bridge.port == own.port), own)


def default_port(env: Mapping[str, str]) -> int:
    """Return the port a daemon of this environment listens on."""
    text = clean(env.get(PORT_VARIABLE))
    try:
        return parse_port(text) if text else DEFAULT_PORT
    except ValueError as expected:
        raise RunnerError(
            Kind.USAGE, f"{PORT_VARIABLE}: expected {expected}, got {text!r}"
        ) from None


class State(NamedTuple):
    """What a listening daemon leaves for clients: who serves, and where."""

    pid: int
    addresses: tuple[str, ...]
    bridges: tuple[str, ...] = ()  # where containers come to


def render_state(state: State) -> str:
    """Render the state file."""
    return json.dumps(state._asdict())


def parse_state(text: str) -> State:
    """Parse a state file; ValueError when it is not one."""
    match json.loads(text):
        case {"pid": int(pid), "addresses": list(addresses), "bridges": list(bridges)} if (
            0 < pid < 1 << 31
        ):
            return State(pid, tuple(map(str, addresses)), tuple(map(str, bridges)))
        case _:
            raise ValueError("not a state file")


def read_state(env: Mapping[str, str]) -> State | None:
    """Read what the daemon running here left; None where there is none: ports change hands."""
    path = f"{places.state_folder(env)}/{STATE_FILE_NAME}"
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 (see runner.places)
            state = parse_state(file.read())
    except (OSError, ValueError):
        return None
    return state if _is_alive(state.pid) else None


def _sockets(env: Mapping[str, str], port: int) -> Iterator[Endpoint]:
    named = clean(env.get(SOCKET_VARIABLE))
    if named.lower() == "off":
        return
    if path := named or places.socket_path(env, port=port):
        yield Endpoint(path, None)


def _announced(env: Mapping[str, str]) -> Iterator[Endpoint]:
    """List where the daemon running here said it listens, its socket first: that needs no key."""
    state = read_state(env)
    announced = [
        parse_endpoint(each, STATE_FILE_NAME) for each in (state.addresses if state else ())
    ]
    yield from sorted(announced, key=lambda endpoint: endpoint.port is not None)


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # where os.kill would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _refuse(source: str, text: str) -> RunnerError:
    return RunnerError(Kind.USAGE, f"{source}: expected {_GRAMMAR}, got {text!r}")
