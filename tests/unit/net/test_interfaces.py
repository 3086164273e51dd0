from __future__ import annotations

import sys

import pytest

from runner.net.interfaces import address_of, find_addresses


@pytest.mark.skipif(sys.platform != "linux", reason="interfaces are looked up on Linux alone")
def test_the_loopback_interface_has_its_address() -> None:
    assert address_of("lo") == "127.0.0.1"


@pytest.mark.parametrize("name", ["", "no-such-one", "x" * 16, "lo/../lo"])
def test_an_interface_that_there_is_not_has_none(name: str) -> None:
    assert address_of(name) is None


def test_addresses_are_taken_as_they_are_and_once() -> None:
    assert find_addresses(["10.0.0.1", "no-such-one", "10.0.0.1", "fd00::1"]) == [
        "10.0.0.1",
        "fd00::1",
    ]


def test_addresses_are_written_as_sockets_tell_them() -> None:
    assert find_addresses(["FD00:0::1", "[fd00::1]", "fd00::2"]) == ["fd00::1", "fd00::2"]
