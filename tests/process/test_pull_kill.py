"""kill -9 at any moment of a pull leaves whole models, and a pull that goes on where it stopped."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.oci import Digest, Manifest, Reference
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import Store
from runner.transfer.pace import Pace
from runner.transfer.progress import Event, LayerProgress
from runner.transfer.pull import Pulled, pull
from tests.conftest import ROOT
from tests.support.gguf_maker import tiny_model
from tests.support.hostile_registry import (
    Exchange,
    HostileRegistry,
    digest_of,
    serve_hostile_registry,
)

BLOCK_BYTES = 64 * 1024
SEVERAL, ONE = 8, 1  # connections of a blob
LAYERS = tuple(tiny_model(bytes([n])) + bytes([n]) * 1_000_000 for n in (1, 2, 3))

# Pulls, and dies before the n-th change of the disk; a negative n: pulls and removes for ever.
CHILD = """
import itertools, os, signal, sys, threading
from pathlib import Path
from runner.oci import Reference
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import Store
from runner.transfer.pace import Pace
from runner.transfer.pull import pull

folder, host, deadly, most = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
network = Network(insecure_registries=frozenset({host}))
registry = Registry(network, Transport(network))
name = Reference.parse(f"{host}/ai/tiny:one")
pace = Pace(block_bytes=65536, run_blocks=4, trial_s=0.0, most_connections=most)
store, count, lock = Store(folder), itertools.count(), threading.Lock()

def deadly_at(name):
    real = getattr(os, name)
    def call(*arguments, **options):
        with lock:
            if next(count) == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    setattr(os, name, call)

for change in ("replace", "rename", "fsync", "unlink", "mkdir", "write", "ftruncate"):
    deadly_at(change)

print("ready", flush=True)
for _ in itertools.count() if deadly < 0 else range(1):
    pull(store, registry, name, listen=lambda event: None, cancelled=lambda: False, pace=pace)
    if deadly < 0:
        store.remove(str(name))
print("done", next(count), flush=True)
"""


@pytest.fixture(scope="module")
def registry() -> Iterator[HostileRegistry]:
    with serve_hostile_registry() as registry:
        registry.seed("one", *LAYERS)
        yield registry


def child(
    folder: Path, registry: HostileRegistry, deadly: int = 10**9, *, most: int = SEVERAL
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), registry.host, str(deadly), str(most)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def pull_here(folder: Path, registry: HostileRegistry, listen: list[Event]) -> Pulled:
    network = Network(insecure_registries=frozenset({registry.host}))
    transport = Transport(network)
    try:
        return pull(
            Store(folder),
            Registry(network, transport),
            Reference.parse(f"{registry.host}/ai/tiny:one"),
            listen=listen.append,
            cancelled=lambda: False,
            pace=Pace(block_bytes=BLOCK_BYTES, most_connections=ONE),
        )
    finally:
        transport.close()


def check(folder: Path, registry: HostileRegistry) -> None:
    """What is listed is whole; what is not is fetched from where it stopped."""
    store = Store(folder)
    manifest = Manifest.parse(registry.tags["one"])
    for model in store.list():
        assert model.id == manifest.digest
    arrived = 0
    for layer in manifest.layers:
        path = folder / "blobs/sha256" / layer.digest.hex
        if path.exists():
            assert Digest.of(path.read_bytes()) == layer.digest
            arrived += layer.size_bytes
        else:
            arrived += store.inbox.arrived_bytes(layer)
    pulled = pull_here(folder, registry, [])
    assert pulled.model.id == manifest.digest
    for layer in manifest.layers:
        assert Digest.of((folder / "blobs/sha256" / layer.digest.hex).read_bytes()) == layer.digest
    missing = sum(layer.size_bytes for layer in manifest.layers) - arrived
    assert pulled.received_bytes <= missing + manifest.config.size_bytes
    store.upkeep.sweep(grace_s=-1.0)
    assert list((folder / "partials").iterdir()) == []
    assert list((folder / "ingest").iterdir()) == []
    assert len(list((folder / "blobs/sha256").iterdir())) == 5


@pytest.fixture(scope="module")
def changes(registry: HostileRegistry, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many changes of the disk a pull takes."""
    with child(tmp_path_factory.mktemp("undisturbed") / "models", registry) as process:
        output, _ = process.communicate()
    assert process.returncode == 0
    return int(output.split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 7, 15, 24, 33, 41, 50, 58, 66, 75, 83, 90, 94, 97])
def test_e1_killed_before_a_change_of_the_disk(
    tmp_path: Path, registry: HostileRegistry, changes: int, share: int
) -> None:
    folder = tmp_path / "models"
    with child(folder, registry, changes * share // 100) as process:
        process.communicate()
    assert process.returncode == -9
    check(folder, registry)


@pytest.mark.slow
@pytest.mark.parametrize("delay_ms", [0, 4, 11, 23, 37, 58, 90, 140])
def test_e1_killed_at_any_moment(tmp_path: Path, registry: HostileRegistry, delay_ms: int) -> None:
    folder = tmp_path / "models"
    with child(folder, registry, -1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay_ms / 1000)
        process.kill()
    check(folder, registry)


class Half:
    """The registry sends half of the first layer, then waits."""

    def __init__(self, registry: HostileRegistry) -> None:
        self.is_sent, self.may_go_on = threading.Event(), threading.Event()
        self._registry = registry

    def __call__(self, exchange: Exchange) -> bool:
        if exchange.data != LAYERS[0] or self.is_sent.is_set():
            return False
        size = len(exchange.data)
        exchange.begin(200, size)
        exchange.send(exchange.data[: size // 2])
        self.is_sent.set()
        self.may_go_on.wait(20)
        exchange.send(exchange.data[size // 2 :])
        return True


@pytest.fixture
def half(registry: HostileRegistry) -> Iterator[Half]:
    registry.asked.clear()
    registry.on_blob = half = Half(registry)
    yield half
    half.may_go_on.set()
    registry.on_blob = lambda exchange: False


def layer_requests(registry: HostileRegistry) -> int:
    return sum(digest_of(LAYERS[0]) in line for line in registry.asked)


def test_e4_two_processes_share_one_download(
    tmp_path: Path, registry: HostileRegistry, half: Half
) -> None:
    events = _Told(half.may_go_on)
    with child(tmp_path / "models", registry, most=ONE) as process:
        assert half.is_sent.wait(20)
        pulled = pull_here(tmp_path / "models", registry, events)
        process.communicate()
    assert process.returncode == 0
    assert layer_requests(registry) == 1
    assert pulled.model.id == Digest.of(registry.tags["one"])
    assert Store(tmp_path / "models").list() == [pulled.model]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class _Told(list[Event]):
    """Lets the registry go on once the other process' progress was told."""

    def __init__(self, go_on: threading.Event) -> None:
        super().__init__()
        self._go_on = go_on

    def append(self, event: Event) -> None:
        super().append(event)
        is_first = isinstance(event, LayerProgress) and event.digest == Digest.of(LAYERS[0])
        if is_first and event.resumed_bytes > 0:
            self._go_on.set()


def test_e4_who_waits_goes_on_when_the_other_is_killed(
    tmp_path: Path, registry: HostileRegistry, half: Half
) -> None:
    folder = tmp_path / "models"
    with child(folder, registry, most=ONE) as process:
        assert half.is_sent.wait(20)
        layer = Manifest.parse(registry.tags["one"]).layers[0]
        until(lambda: Store(folder).inbox.arrived_bytes(layer) > 0)
        process.kill()
    half.may_go_on.set()
    events: list[Event] = []
    pull_here(folder, registry, events)
    assert layer_requests(registry) == 2
    assert any(
        isinstance(event, LayerProgress) and 0 < event.resumed_bytes < event.size_bytes
        for event in events
    )


def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A small disk of its own."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "disk", "22m")


def test_e2_a_full_disk_is_told_with_both_numbers(
    small_disk: Path, registry: HostileRegistry
) -> None:
    (small_disk / "ballast").write_bytes(bytes(5_000_000))
    with pytest.raises(RunnerError) as caught:
        pull_here(small_disk / "models", registry, [])
    need, have = (caught.value.details[name] for name in ("need_bytes", "have_bytes"))
    assert caught.value.row.status == 507
    assert need == sum(map(len, LAYERS)) + 16 * 1024 * 1024 > have > 0
    assert registry.asked[-1].startswith("GET /v2/ai/tiny/manifests/")


def test_e2_a_disk_that_fills_up_meanwhile_loses_nothing(
    small_disk: Path, registry: HostileRegistry, half: Half
) -> None:
    folder, ballast = small_disk / "models", small_disk / "ballast"
    half.may_go_on.set()

    def fill(exchange: Exchange) -> bool:
        if not ballast.exists() and exchange.data == LAYERS[0]:
            facts = os.statvfs(small_disk)
            with contextlib.suppress(OSError):  # what arrives meanwhile may take the rest
                ballast.write_bytes(bytes(facts.f_bavail * facts.f_frsize - 1_200_000))
        return False

    registry.on_blob = fill
    with pytest.raises(RunnerError) as caught:
        pull_here(folder, registry, [])
    assert caught.value.row.status == 507
    assert Store(folder).list() == []
    ballast.write_bytes(b"")
    events: list[Event] = []
    pulled = pull_here(folder, registry, events)
    assert pulled.received_bytes < sum(map(len, LAYERS))
    assert Store(folder).list() == [pulled.model]
