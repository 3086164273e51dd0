"""What the tests of this package share: a transport that does not wait, and its waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from runner.registry.network import Network
from runner.registry.transport import Transport

MakeTransport = Callable[..., Transport]


@pytest.fixture
def waits() -> list[float]:
    """How long it would have waited, in seconds."""
    return []


@pytest.fixture
def make_transport(waits: list[float]) -> Iterator[MakeTransport]:
    """Make transports; every name is this machine, and waiting takes no time."""
    made: list[Transport] = []

    def make(network: Network | None = None) -> Transport:
        made.append(
            Transport(
                network or Network(connect_s=5, stall_s=5),
                lookup=lambda host, port: ["127.0.0.1"],
                sleep=waits.append,
                dice=lambda: 0.0,
            )
        )
        return made[-1]

    yield make
    for transport in made:
        transport.close()
