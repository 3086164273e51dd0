"""Pulls from a real docker-registry, and what skopeo says of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.oci import Digest, Manifest, Reference
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import Store
from runner.transfer.pace import Pace
from runner.transfer.progress import Event, LayerProgress, Note
from runner.transfer.pull import Pulled, pull
from tests.support.gguf_maker import tiny_model
from tests.support.registries import RunningRegistry, Skopeo
from tests.support.throttle import Line, throttled

LARGE = tiny_model() + bytes(range(256)) * 80_000  # 20 MB
SMALL = tiny_model(b"\2")
SEVERAL = Pace(block_bytes=128 * 1024, run_blocks=8, trial_s=0.0)


class Puller:
    """Pulls into a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.events: list[Event] = []
        self.listen: Callable[[Event], None] = self.events.append

    def pull(self, host: str, pace: Pace = SEVERAL) -> Pulled:
        transport = Transport(Network())
        try:
            return pull(
                self.store,
                Registry(transport.network, transport),
                Reference.parse(f"{host}/ai/tiny:one"),
                listen=self.listen,
                cancelled=lambda: False,
                pace=pace,
            )
        finally:
            transport.close()

    def blob(self, digest: Digest) -> bytes:
        return (self.store.path / "blobs" / digest.algorithm / digest.hex).read_bytes()


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path / "models")


def test_a_pull_brings_what_skopeo_brings(
    puller: Puller, open_registry: RunningRegistry, skopeo: Skopeo, tmp_path: Path
) -> None:
    open_registry.seed("ai/tiny", "one", [LARGE, SMALL])
    source = f"docker://{open_registry.host}/ai/tiny:one"
    skopeo("copy", "--src-tls-verify=false", source, f"oci:{tmp_path}/theirs:one")
    pulled = puller.pull(open_registry.host)
    index = json.loads((tmp_path / "theirs/index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [str(pulled.model.id)]
    theirs = {path.name: path for path in (tmp_path / "theirs/blobs/sha256").iterdir()}
    ours = {path.name: path for path in (puller.store.path / "blobs/sha256").iterdir()}
    assert ours.keys() == theirs.keys()
    assert all(ours[name].read_bytes() == theirs[name].read_bytes() for name in ours)


def test_skopeo_reads_the_store(
    puller: Puller, open_registry: RunningRegistry, skopeo: Skopeo, tmp_path: Path
) -> None:
    manifest = open_registry.seed("ai/tiny", "one", [SMALL])
    name = puller.pull(open_registry.host).model.tags[0]
    skopeo("copy", f"oci:{puller.store.path}:{name}", f"dir:{tmp_path}/theirs")
    assert (tmp_path / "theirs/manifest.json").read_bytes() == manifest


def test_a_registry_that_restarts_meanwhile_is_waited_for(
    puller: Puller, open_registry: RunningRegistry
) -> None:
    manifest = Manifest.parse(open_registry.seed("ai/tiny", "one", [LARGE]))
    restarted = threading.Event()

    def restart() -> None:
        open_registry.stop()
        open_registry.start()

    thread = threading.Thread(target=restart)

    def listen(event: Event) -> None:
        puller.events.append(event)
        is_under_way = isinstance(event, LayerProgress) and event.done_bytes > 2_000_000
        if is_under_way and not restarted.is_set():
            restarted.set()
            thread.start()

    puller.listen = listen
    with throttled(open_registry.port, Line(bytes_per_s=10_000_000)) as line:
        pulled = puller.pull(f"127.0.0.1:{line.port}", Pace(pause_s=0.05, most_connections=2))
    thread.join()
    assert restarted.is_set()
    assert pulled.model.id == manifest.digest
    assert puller.blob(manifest.layers[0].digest) == LARGE
    assert not [event for event in puller.events if isinstance(event, Note) and event.is_warning]
    assert pulled.received_bytes < len(LARGE) + 3_000_000
