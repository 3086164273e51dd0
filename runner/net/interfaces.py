"""The addresses of this machine's network interfaces."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_NAME_BYTES = 15  # IFNAMSIZ less the NUL
_IFREQ_BYTES = 40
_ADDRESS = slice(20, 24)  # sin_addr within the ifreq (netdevice(7))


def find_addresses(places: Iterable[str]) -> list[str]:
    """Return the addresses among ``places`` and those of its interfaces that there are.

    They are written as sockets tell them, so that they can be compared with those.
    """
    found = [_as_address(place) or address_of(place) for place in places]
    return [address for address in dict.fromkeys(found) if address]


def address_of(interface: str) -> str | None:
    """Return the IPv4 address of an interface; None where there is no such, or it has none.

    Linux only: elsewhere containers live in a virtual machine, which has no bridge here.
    """
    name = interface.encode()
    if sys.platform != "linux" or len(name) > _NAME_BYTES:
        return None
    request = struct.pack(f"{_IFREQ_BYTES}s", name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            answer = fcntl.ioctl(asker, _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[_ADDRESS])


def _as_address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return None
