"""Who counts as local decides what a client may ask for."""

from __future__ import annotations

import pytest

from runner.net.peer import Address, Peer, describe_peer


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        (("127.0.0.1", 5000), Peer("127.0.0.1:5000", "127.0.0.1", True)),
        (("127.1.2.3", 1), Peer("127.1.2.3:1", "127.1.2.3", True)),
        (("192.168.0.7", 1), Peer("192.168.0.7:1", "192.168.0.7", False)),
        (("::1", 5000, 0, 0), Peer("[::1]:5000", "::1", True)),
        (
            ("::ffff:127.0.0.1", 1, 0, 0),
            Peer("[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", True),
        ),
        (
            ("fe80::1%eth0", 1, 0, 2),
            Peer("[fe80::1%eth0]:1", "fe80::1%eth0", False),
        ),
        ("", Peer("unix", "", True)),
        (b"\x00name", Peer("unix", "", True)),
    ],
)
def test_a_peer_is_described(address: Address, peer: Peer) -> None:
    assert describe_peer(address) == peer
