"""The request target and the Host field: what is asked of whom. Nothing is normalised silently."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from runner.http.grammar import ABSOLUTE_TARGET, BAD_ESCAPE, CONTROL, HOST

MAX_PORT = 65535
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


class BadTarget(ValueError):
    """A target or Host that means nothing; the message says why."""


class Host(NamedTuple):
    """Whom a request addresses. ``name`` is in lower case; IPv6 addresses keep their brackets."""

    name: str
    port: int | None  # None: the scheme's own


class Target(NamedTuple):
    """A request target taken apart."""

    path: str
    raw_path: str
    query: str
    host: Host | None  # of absolute-form only


@lru_cache(maxsize=256)
def parse_host(text: str) -> Host:
    """Parse ``name``, ``name:port`` or ``[ipv6]:port``; raise :class:`BadTarget` (a ValueError)."""
    match = HOST.fullmatch(text)
    if match is None:
        raise BadTarget("the Host is not a name or an address with an optional port")
    name, port = match.groups()
    if not port:
        return Host(name.lower(), None)
    if int(port) > MAX_PORT:
        raise BadTarget(f"the port of the Host is over {MAX_PORT}")
    return Host(name.lower(), int(port))


@lru_cache(maxsize=256)
def parse_target(method: str, target: str) -> Target:
    """Take a target apart: origin-form, absolute-form, or ``*`` for OPTIONS (RFC 9112 §3.2)."""
    host = None
    if not target.startswith("/"):
        if target == "*" and method == "OPTIONS":
            return Target("*", "*", "", None)
        match = ABSOLUTE_TARGET.fullmatch(target)
        if match is None:
            raise BadTarget("the request target is neither a path nor an http URL")
        host = parse_host(match[1])
        target = match[2] if match[2].startswith("/") else "/" + match[2]
    elif "#" in target:
        raise BadTarget("the request target has a fragment")
    raw_path, _, query = target.partition("?")
    return Target(decode_path(raw_path), raw_path, query, host)


def decode_path(raw_path: str) -> str:
    """Undo percent-encoding once. Refuse bad escapes, control characters and broken UTF-8."""
    if "%" not in raw_path:
        return raw_path
    if BAD_ESCAPE.search(raw_path):
        raise BadTarget("the path has a percent sign without two hex digits")
    octets = _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), raw_path.encode())
    try:
        path = octets.decode()
    except UnicodeDecodeError as error:
        raise BadTarget("the path is not UTF-8 after percent-decoding") from error
    if CONTROL.search(path):
        raise BadTarget("the path has an encoded control character")
    return path
