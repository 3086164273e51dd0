"""Models of files that came in before: blobs by their digests."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference
from runner.registry.network import Network
from runner.store import Store
from runner.transfer.client import TransferClient
from runner.transfer.package import PackageRequest, package
from tests.support.gguf_maker import STR, make_gguf, tiny_model, tiny_shards
from tests.support.models import add_gguf

NAME = Reference.parse("tiny")
PROJECTOR = make_gguf({"general.architecture": (STR, "clip")})
ADAPTER = tiny_model(b"\5", general__type=(STR, "adapter"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def upload(store: Store, files: Mapping[str, bytes]) -> dict[str, Digest]:
    digests = {name: Digest.of(content) for name, content in files.items()}
    for name, content in files.items():
        store.inbox.add_upload(digests[name], [content])
    return digests


def test_uploads_make_the_model_that_files_make(store: Store, tmp_path: Path) -> None:
    contents = {"tiny.gguf": tiny_model(), "p.gguf": PROJECTOR, "a.gguf": ADAPTER}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "LICENSE").write_text("Do what you like.")
    digests = upload(store, contents)
    wanted = PackageRequest(
        uploads={name: digests[name] for name in ("tiny.gguf", "p.gguf")},
        lora_uploads=[digests["a.gguf"]],
        license_texts=["Do what you like."],
        context_size=512,
    )
    made = package(store, wanted, NAME)
    same = add_gguf(
        Store(tmp_path / "other"),
        [tmp_path / "tiny.gguf"],
        NAME,
        licenses=[tmp_path / "LICENSE"],
        mmproj=tmp_path / "p.gguf",
        loras=[tmp_path / "a.gguf"],
        context_size=512,
    )
    assert made.id == same.id
    assert store.bundle(made).mmproj_path is not None


def test_shards_are_put_together_by_their_names(store: Store) -> None:
    shards = {f"big-0000{n}-of-00002.gguf": part for n, part in enumerate(tiny_shards(2), 1)}
    made = package(store, PackageRequest(uploads=upload(store, shards)), NAME)
    assert [layer.digest for layer in made.manifest.layers] == [
        Digest.of(part) for part in shards.values()
    ]


def test_a_file_that_did_not_come_in_is_named(store: Store) -> None:
    wanted = PackageRequest(uploads={"x.gguf": Digest.of(b"nothing")})
    with pytest.raises(RunnerError, match=r"'x\.gguf': sha256:") as caught:
        package(store, wanted, NAME)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "files")


@pytest.mark.parametrize(
    "content", [b"not a model at all", PROJECTOR, ADAPTER], ids=["text", "projector", "adapter"]
)
def test_what_is_no_model_is_refused(store: Store, content: bytes) -> None:
    with pytest.raises(RunnerError) as caught:
        package(store, PackageRequest(uploads=upload(store, {"x": content})), NAME)
    assert caught.value.kind is Kind.INVALID_MODEL
    assert store.list() == []


def test_bytes_must_be_those_of_their_digest(store: Store) -> None:
    client = TransferClient(store, Network(is_offline=True), memory_bytes=lambda: None)
    digest = Digest.of(b"right")
    with pytest.raises(RunnerError) as caught:
        client.add_blob(digest, io.BytesIO(b"wrong"), cancelled=lambda: False)
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert not client.has_blob(digest)
    with pytest.raises(RunnerError) as caught:
        client.add_blob(digest, io.BytesIO(b"right"), cancelled=lambda: True)
    assert caught.value.kind is Kind.CANCELLED
    client.add_blob(digest, io.BytesIO(b"right"), cancelled=lambda: False)
    assert client.has_blob(digest)
    # What is there is not taken again.
    client.add_blob(digest, io.BytesIO(b"anything"), cancelled=lambda: False)
