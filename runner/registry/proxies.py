"""Which proxy a host is reached through: HTTP_PROXY, HTTPS_PROXY and NO_PROXY. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from runner.registry.address import Origin, Reach, is_localhost, literal_reach


@dataclass(frozen=True, slots=True)
class Proxies:
    """Proxy URLs; they may hold a password. ``direct``: hosts that are reached without one."""

    http: str | None = field(default=None, repr=False)
    https: str | None = field(default=None, repr=False)
    direct: tuple[str, ...] = ()

    def choose(self, origin: Origin) -> str | None:
        """Return the URL of the proxy for a server; None: connect directly.

        This machine is always reached directly. ``direct`` holds ``*``, a domain (which means its
        subdomains too), ``.domain`` (its subdomains), an address or a network in CIDR form, each
        but the last with a port if only that one is meant.
        """
        proxy = self.https if origin.scheme == "https" else self.http
        if proxy is None or is_localhost(origin.host):
            return None
        if literal_reach(origin.host) is Reach.LOOPBACK:
            return None
        return None if any(_matches(entry, origin) for entry in self.direct) else proxy


def parse_proxy(text: str) -> str | None:
    """Normalise a proxy's URL: ``host:port`` means http. None for an empty one, or of SOCKS."""
    if not text:
        return None
    url = text if "://" in text else f"http://{text}"
    return url if urlsplit(url).scheme in ("http", "https") else None


def parse_direct(text: str) -> tuple[str, ...]:
    """Split a NO_PROXY list, at commas or blanks."""
    return tuple(entry.lower() for entry in text.replace(",", " ").split())


def shown(proxy: str) -> str:
    """Write a proxy for people: without its user and password."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _matches(entry: str, origin: Origin) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _is_within(origin.host, entry)
    name, port = _split_port(entry)
    if port is not None and port != origin.port:
        return False
    name = name.removeprefix("*")
    if name.startswith("."):
        return origin.host.endswith(name)
    return origin.host == name or origin.host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, int | None]:
    """Split ``host:port``, ``[::1]:port`` and plain hosts."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    else:
        host, port = entry, ""
    return host, int(port) if port.isascii() and port.isdigit() else None


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
