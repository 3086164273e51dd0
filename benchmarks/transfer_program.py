"""One pull or push of ours in a process of its own, as the benchmark ``pull`` measures it.

``python -m benchmarks.transfer_program pull STORE REFERENCE`` or ``push STORE MODEL REFERENCE``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from runner.oci import Reference
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import Store
from runner.transfer.progress import Event
from runner.transfer.pull import pull
from runner.transfer.push import push


def main(action: str, folder: str, name: str, *target: str) -> None:
    """Do it, without progress, as skopeo does off a terminal."""
    store, network = Store(Path(folder)), Network()
    registry = Registry(network, Transport(network))
    if action == "pull":
        pull(store, registry, Reference.parse(name), listen=ignore, cancelled=never)
    else:
        goal = Reference.parse(*target)
        push(store, registry, store.resolve(name), goal, listen=ignore, cancelled=never)


def ignore(_: Event) -> None:
    """Hear of progress, and show nothing."""


def never() -> bool:
    """Go on to the end."""
    return False


if __name__ == "__main__":
    main(*sys.argv[1:])
