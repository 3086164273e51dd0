"""Who is at the other end of an accepted socket."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

# What accept() returns: of IPv4, of IPv6, of a unix socket (or its abstract name).
Address = tuple[str, int] | tuple[str, int, int, int] | str | bytes


class Peer(NamedTuple):
    """A client, as far as its address tells."""

    label: str  # "127.0.0.1:5000", "[::1]:5000" or "unix"
    address: str  # of the machine, without port; "" for unix sockets
    is_local: bool


UNIX_PEER = Peer("unix", "", True)


def describe_peer(address: Address) -> Peer:
    """Describe the peer of an accepted socket by what ``accept`` returned."""
    if not isinstance(address, tuple):
        return UNIX_PEER
    host, port = address[0], address[1]
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        is_local = (ip.ipv4_mapped or ip).is_loopback
        return Peer(f"[{host}]:{port}", host, is_local)
    return Peer(f"{host}:{port}", host, ip.is_loopback)
