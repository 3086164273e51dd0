"""The client's own part: which source a name means, and models of installed packages."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.registry.network import Network
from runner.store import Store
from runner.transfer import client as module
from runner.transfer.archive import Layout
from runner.transfer.client import TransferClient
from runner.transfer.progress import Event, LayerProgress, Planned
from tests.support.gguf_maker import tiny_model

TAG = "docker.io/local/toy:latest"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def client(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TransferClient:
    weights = tmp_path / "toy.gguf"
    weights.write_bytes(tiny_model())
    shipped = {"package:toy": (weights,)}
    monkeypatch.setattr(module, "find_package_gguf", shipped.__getitem__)
    return TransferClient(store, Network(is_offline=True), memory_bytes=lambda: None)


def pull(client: TransferClient, source: str, *, is_cancelled: bool = False) -> list[Event]:
    told: list[Event] = []
    client.pull(source, bearer_token=None, listen=told.append, cancelled=lambda: is_cancelled)
    return told


def test_a_package_is_added_once_under_its_stored_name(
    client: TransferClient, store: Store, tmp_path: Path
) -> None:
    planned, *layers = pull(client, "package:toy")
    size_bytes = len(tiny_model())
    label = Digest.of(str(tmp_path / "toy.gguf").encode())
    assert planned == Planned((LayerProgress(label, size_bytes, 0),))
    assert layers[-1] == LayerProgress(label, size_bytes, size_bytes)
    assert store.resolve("local/toy").tags == (TAG,)
    assert client.is_stored(" package:Toy ")
    assert pull(client, "package:toy") == []


def test_adding_a_package_can_be_given_up(client: TransferClient, store: Store) -> None:
    with pytest.raises(RunnerError) as caught:
        pull(client, "package:toy", is_cancelled=True)
    assert caught.value.kind is Kind.CANCELLED
    assert store.list() == []


@pytest.mark.parametrize("name", ["toy", "package:toy", "package:a b", "A/b@main", ""])
def test_what_is_not_there_is_not_stored(client: TransferClient, name: str) -> None:
    assert not client.is_stored(name)


@pytest.mark.parametrize("name", ["ai/toy", "127.0.0.1:1/toy", "hf.co/org/toy"])
def test_every_place_is_asked_by_the_name(client: TransferClient, name: str) -> None:
    with pytest.raises(RunnerError) as caught:
        pull(client, name)
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE  # it is offline


def test_what_only_registries_can_do_is_refused_for_the_hub(client: TransferClient) -> None:
    def push() -> None:
        client.push("hf.co/a/b", bearer_token=None, listen=lambda _: None, cancelled=lambda: False)

    def inspect() -> None:
        client.inspect("hf.co/a/b", listen=lambda _: None, cancelled=lambda: False)

    for refused in (push, inspect):
        with pytest.raises(RunnerError, match="Hugging Face is not supported") as caught:
            refused()
        assert caught.value.kind is Kind.INVALID_REQUEST


def test_a_search_names_its_sources(client: TransferClient) -> None:
    with pytest.raises(RunnerError, match="dockerhub or huggingface") as caught:
        client.search("x", limit=1, source="elsewhere")
    assert caught.value.param == "source"


def test_a_model_is_saved_and_loaded(client: TransferClient, store: Store, tmp_path: Path) -> None:
    pull(client, "package:toy")
    archive = io.BytesIO()
    never = {"listen": lambda _: None, "cancelled": lambda: False}
    client.save("local/toy", archive, layout=Layout.OCI, **never)  # type: ignore[arg-type]
    other = TransferClient(
        Store(tmp_path / "other"), Network(is_offline=True), memory_bytes=lambda: None
    )
    archive.seek(0)
    [model] = other.load(archive, **never)  # type: ignore[arg-type]
    assert (model.id, model.tags) == (store.resolve("local/toy").id, (TAG,))


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("127.0.0.1:5000", ["127.0.0.1:5000"]),
        ("127.0.0.1:5000/org/x", ["127.0.0.1:5000/org/x:latest"]),
        ("qwen2.5:7b", ["docker.io/ai/qwen2.5:7b"]),
        ("hf.co", ["https://huggingface.co"]),
        ("hf.co/org/x", ["https://huggingface.co"]),
        (None, ["docker.io/ai/smollm2:latest", "https://huggingface.co"]),
    ],
)
def test_a_registry_or_a_model_is_examined(
    client: TransferClient, name: str | None, targets: list[str]
) -> None:
    assert [found.target for found in client.diagnose(name)] == targets
