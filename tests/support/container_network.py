"""A network namespace beside this machine, joined by a bridge: where a container would live."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.support.registries import free_port

WHY_NOT = "needs root and the program ip: apt-get install iproute2"


# As Docker's userland proxy: listens on this machine's loopback, connects to the inside.
PROXY = """
import asyncio, contextlib, sys
port, host, inner_port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

async def relay(reader, writer):
    with contextlib.suppress(OSError), contextlib.closing(writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

async def accept(reader, writer):
    try:
        inner_reader, inner_writer = await asyncio.open_connection(host, inner_port)
    except OSError:
        writer.close()
    else:
        await asyncio.gather(relay(reader, inner_writer), relay(inner_reader, writer))

async def main():
    async with await asyncio.start_server(accept, "127.0.0.1", port) as server:
        await server.serve_forever()

asyncio.run(main())
"""


class Network(NamedTuple):
    """One namespace; its host is ``host.docker.internal`` there, as Compose's ``host-gateway``."""

    name: str
    bridge: str  # the interface on this machine
    address: str  # of this machine, as seen from inside
    inner: str  # of what runs inside, as seen from this machine

    def inside(self, *command: str) -> list[str]:
        """Return the command line that runs a command inside."""
        return ["ip", "netns", "exec", self.name, *command]

    @contextmanager
    def published(self, inner_port: int) -> Iterator[int]:
        """Give a port of this machine's loopback that leads to one inside, as Compose's ports."""
        port = free_port()
        words = (str(port), self.inner, str(inner_port))
        process = subprocess.Popen([sys.executable, "-c", PROXY, *words])
        try:
            yield port
        finally:
            process.kill()
            process.wait()


def is_possible() -> bool:
    """Whether namespaces can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"rn-probe-{os.getpid()}"
    if not _ip("netns", "add", name):
        return False
    return _ip("netns", "del", name)


@contextmanager
def container_network() -> Iterator[Network]:
    """Make one, and take it away."""
    number = os.getpid() % 250
    name, outer, inner = (f"{kind}{os.getpid()}" for kind in ("rn-", "rnb", "rni"))
    network = Network(name, outer, f"10.213.{number}.1", f"10.213.{number}.2")
    hosts = Path("/etc/netns") / name / "hosts"
    hosts.parent.mkdir(parents=True, exist_ok=True)
    hosts.write_text(f"127.0.0.1 localhost\n{network.address} host.docker.internal\n")
    try:
        for words in (
            ("netns", "add", name),
            ("link", "add", outer, "type", "veth", "peer", "name", inner),
            ("link", "set", inner, "netns", name),
            ("addr", "add", f"{network.address}/24", "dev", outer),
            ("link", "set", outer, "up"),
            ("-n", name, "addr", "add", f"{network.inner}/24", "dev", inner),
            ("-n", name, "link", "set", inner, "up"),
            ("-n", name, "link", "set", "lo", "up"),
        ):
            assert _ip(*words), words
        yield network
    finally:
        _ip("link", "del", outer)
        _ip("netns", "del", name)
        hosts.unlink()
        with suppress(OSError):
            hosts.parent.rmdir()
            hosts.parent.parent.rmdir()


def _ip(*words: str) -> bool:
    done = subprocess.run(["ip", *words], capture_output=True, check=False, timeout=30)
    return done.returncode == 0
