"""kill -9 at any moment of a push leaves no name in the registry whose model is not whole."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from runner.oci import Reference
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import Store, StoredModel
from runner.transfer.push import push
from tests.conftest import ROOT
from tests.support.gguf_maker import STR, Tensor, make_gguf, tiny_model
from tests.support.models import add_gguf
from tests.support.registries import MANIFEST, RunningRegistry
from tests.support.throttle import Line, Throttle, throttled

MOMENTS = 20
LIMIT_S = 30.0
LINE = Line(round_trip_s=0.002, bytes_per_s=10e6)

CHILD = """
import sys
from pathlib import Path
from runner.oci import Reference
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import Store
from runner.transfer.push import push

store, network = Store(Path(sys.argv[1])), Network()
push(
    store, Registry(network, Transport(network)), store.list()[0], Reference.parse(sys.argv[2]),
    listen=lambda event: None, cancelled=lambda: False,
)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one model of a small layer and two larger ones."""
    store = Store(tmp_path / "models")
    (tmp_path / "tiny.gguf").write_bytes(tiny_model())
    for name, kind in (("projector", "clip"), ("adapter", "llama")):
        fields = {"general.architecture": (STR, kind)}
        fields |= {"general.type": (STR, "adapter")} if name == "adapter" else {}
        fields |= {"adapter.type": (STR, "lora")} if name == "adapter" else {}
        tensor = Tensor("v.weight", (250_000,), data=os.urandom(1_000_000))
        (tmp_path / name).write_bytes(make_gguf(fields, [tensor]))
    add_gguf(
        store,
        [tmp_path / "tiny.gguf"],
        Reference.parse("tiny"),
        mmproj=tmp_path / "projector",
        loras=[tmp_path / "adapter"],
    )
    return store


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_e1_a_push_killed_at_any_moment(
    moment: int, store: Store, open_registry: RunningRegistry
) -> None:
    (model,) = store.list()
    size_bytes = sum(blob.size_bytes for blob in model.manifest.blobs)
    with throttled(open_registry.port, LINE) as line:
        name = f"127.0.0.1:{line.port}/team/tiny:v1"
        kill_after(store, name, line, size_bytes * moment // (MOMENTS - 2))
        is_named = is_whole(open_registry.url, model)

    network = Network()
    transport = Transport(network)
    done = push(
        store,
        Registry(network, transport),
        model,
        Reference.parse(f"{open_registry.host}/team/tiny:v1"),
        listen=lambda event: None,
        cancelled=lambda: False,
    )
    transport.close()
    assert done.sent_bytes + done.present_bytes == size_bytes
    assert done.sent_bytes == 0 or not is_named
    assert is_whole(open_registry.url, model)


def kill_after(store: Store, name: str, line: Throttle, sent_bytes: int) -> None:
    """Kill a push once that many bytes have left it, or let it end."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(store.path), name], cwd=ROOT)
    deadline = time.monotonic() + LIMIT_S
    while child.poll() is None and line.sent_bytes <= sent_bytes:
        assert time.monotonic() < deadline, "the push does not get so far"
        time.sleep(0.0005)
    child.kill()
    assert child.wait() in (0, -9)


def is_whole(url: str, model: StoredModel) -> bool:
    """Say whether the registry serves the tag; where it does, all of it must be there."""
    root = f"{url}/v2/team/tiny"
    answer = requests.get(f"{root}/manifests/v1", headers={"Accept": MANIFEST}, timeout=20)
    if answer.status_code == 404:
        return False
    assert answer.content == model.manifest.raw
    for blob in model.manifest.blobs:
        assert blob.digest.matches(requests.get(f"{root}/blobs/{blob.digest}", timeout=20).content)
    return True
