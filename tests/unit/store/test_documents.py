"""A model's documents are parsed once, and again when a file is another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, Manifest, ModelConfig, media
from runner.store import Store
from runner.store.documents import MAX_KEPT, Documents
from runner.store.layout import Layout


def put(layout: Layout, kind: str, data: bytes) -> Descriptor:
    digest = Digest.of(data)
    layout.blob(digest).write_bytes(data)
    os.utime(layout.blob(digest), (0, 0))
    return Descriptor(kind, digest, len(data))


def _config(name: str, gguf: dict[str, str]) -> ModelConfig:
    """A config that leaves nothing out."""
    return ModelConfig("gguf", "F32", "1.25K", name, "2.38KiB", {"general.name": name, **gguf})


def put_model(layout: Layout, name: str, **gguf: str) -> tuple[Descriptor, Descriptor]:
    """Manifest and config of a model; its weights are nowhere."""
    config = put(layout, media.CONFIG_V01, _config(name, gguf).render())
    weights = Descriptor(media.GGUF, Digest("sha256", "a" * 64), 10)
    return put(layout, media.MANIFEST, Manifest.build(config, [weights]).raw), config


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    Store(tmp_path)
    return Layout(tmp_path)


def test_files_that_did_not_change_are_not_parsed_again(layout: Layout) -> None:
    manifest, _ = put_model(layout, "llama")
    documents = Documents(layout)
    first = documents.read(manifest)
    assert first[1].architecture == "llama"
    assert all(again is one for again, one in zip(documents.read(manifest), first, strict=True))


@pytest.mark.parametrize("which", [0, 1], ids=["manifest", "config"])
def test_a_file_damaged_or_removed_later_is_noticed(layout: Layout, which: int) -> None:
    blobs = put_model(layout, "llama")
    documents = Documents(layout)
    documents.read(blobs[0])
    path = layout.blob(blobs[which].digest)
    path.write_bytes(b"?" * blobs[which].size_bytes)
    with pytest.raises(RunnerError, match="is damaged") as damaged:
        documents.read(blobs[0])
    assert damaged.value.kind is Kind.INTEGRITY
    path.unlink()
    with pytest.raises(RunnerError, match="is missing"):
        documents.read(blobs[0])


def test_the_documents_of_so_many_models_are_kept(layout: Layout) -> None:
    manifests = [put_model(layout, f"model{n}")[0] for n in range(MAX_KEPT + 1)]
    documents = Documents(layout)
    first, *_, last = [documents.read(manifest)[1] for manifest in manifests]
    assert documents.read(manifests[-1])[1] is last
    assert documents.read(manifests[0])[1] is not first


def test_a_huge_config_is_not_kept(layout: Layout) -> None:
    manifest, _ = put_model(layout, "llama", **{"general.description": "x" * 70_000})
    documents = Documents(layout)
    assert documents.read(manifest)[1] is not documents.read(manifest)[1]
