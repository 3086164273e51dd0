"""Who is spoken to: origins of URLs, and how far away an IP address is. Pure."""

from __future__ import annotations

import ipaddress
import re
from enum import Enum
from typing import NamedTuple, Self
from urllib.parse import urljoin, urlsplit

MAX_URL_CHARACTERS = 16 * 1024  # signed URLs have a few thousand

_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[!-~]+")  # no blank, no control character: parsers would disagree on them
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9.])?|[0-9a-f:.]*:[0-9a-f:.]*")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598: a provider's own network
_AZURE = ipaddress.ip_address("168.63.129.16")  # of its virtual machines' own host

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Origin(NamedTuple):
    """What credentials belong to: scheme, host and port."""

    scheme: str
    host: str  # lower case, IPv6 without brackets
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """Read the origin of a URL; ValueError says what is wrong with it.

        Refused is what two parsers could read in two ways: blanks, control characters, a backslash,
        a user name before the host.
        """
        if not _VISIBLE.fullmatch(url) or "\\" in url or len(url) > MAX_URL_CHARACTERS:
            raise ValueError("it is not a URL of visible ASCII characters")
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise ValueError("its scheme is not http or https")
        host = (parts.hostname or "").lower()
        if "@" in parts.netloc or not _HOST.fullmatch(host) or _is_odd_number(host):
            raise ValueError("it has no plain host name")
        return cls(parts.scheme, host, parts.port or _PORTS[parts.scheme])

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's own, port: as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Reach(Enum):
    """How far away an address is. What leads from one to a nearer one is refused."""

    PUBLIC = "public"
    PRIVATE = "private"  # of this network
    LOOPBACK = "loopback"  # of this machine
    SPECIAL = "special"  # link-local (where clouds keep metadata), multicast, unspecified


def reach_of(text: str) -> Reach:
    """Classify a literal IP address; an IPv4 address inside an IPv6 one counts as itself."""
    address = _unwrap(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_loopback:
        return Reach.LOOPBACK
    special = address.is_link_local, address.is_multicast, address.is_unspecified
    if any(special) or address == _AZURE:
        return Reach.SPECIAL
    if address.is_private or address in _SHARED:
        return Reach.PRIVATE
    return Reach.PUBLIC if address.is_global else Reach.SPECIAL


def literal_reach(host: str) -> Reach | None:
    """Classify a host that is an IP address, or ``localhost``; None for any other name."""
    if is_localhost(host):
        return Reach.LOOPBACK
    try:
        return reach_of(host)
    except ValueError:
        return None


def is_localhost(host: str) -> bool:
    """Tell the names of this machine: RFC 6761 section 6.3."""
    return host == "localhost" or host.endswith(".localhost")


def may_lead(home: Reach, target: Reach) -> bool:
    """Tell whether a server at ``home`` may send a client to an address at ``target``."""
    near = {Reach.PRIVATE: (Reach.PRIVATE, Reach.LOOPBACK), Reach.LOOPBACK: (Reach.LOOPBACK,)}
    return target is Reach.PUBLIC or home in near.get(target, ())


def _is_odd_number(host: str) -> bool:
    """Tell a host such as ``2130706433`` or ``0x7f.1``, which resolvers take for an address.

    A name whose last label is a number must be an address as everybody writes it (WHATWG URL).
    """
    last = host.rstrip(".").rpartition(".")[2]
    if ":" in host or not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False


def resolve_url(base: str, location: str) -> str:
    """Resolve a Location against the URL that sent it; what is not ASCII stays refused."""
    return urljoin(base, location.strip(" \t")).partition("#")[0]


def _unwrap(address: IpAddress) -> IpAddress:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address
