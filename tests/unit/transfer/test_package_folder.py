"""Folders of safetensors: packaged, pushed, kept; not run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference, media
from runner.store import Store, StoredModel
from runner.transfer.layers import Format
from runner.transfer.package import PackageRequest, package

NAME = Reference.parse("tiny")


def weights(name: str, elements: int) -> bytes:
    header = {
        "__metadata__": {"format": "pt"},
        name: {"dtype": "F32", "shape": [elements], "data_offsets": [0, 4 * elements]},
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(range(4)) * elements


FILES = {
    "model-00001-of-00002.safetensors": weights("a", 1000),
    "model-00002-of-00002.safetensors": weights("b", 500),
    "model.safetensors.index.json": b"{}",
    "config.json": b'{"model_type":"llama","max_position_embeddings":2048}',
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "LICENSE": b"Do what you like.",
    "1_Pooling/config.json": b"{}",
    "tokenizer.model": b"\0\1",
    ".gitattributes": b"x",
    ".cache/x": b"x",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tiny-model"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def add(store: Store, folder: Path, **wanted: Any) -> StoredModel:
    return package(store, PackageRequest(safetensors_dir=folder, **wanted), NAME)


def test_each_file_is_a_layer_with_its_path(store: Store, folder: Path) -> None:
    (folder / "link.json").symlink_to("config.json")
    model = add(store, folder)
    assert model.manifest.config.media_type == media.CONFIG_V02
    layers = model.manifest.layers
    assert [
        (layer.annotations[media.FILE_PATH], layer.media_type.rpartition("docker.ai.")[2])
        for layer in layers
    ] == [
        ("1_Pooling/config.json", "model.file"),
        ("LICENSE", "license"),
        ("chat_template.jinja", "chat.template.jinja"),
        ("config.json", "model.file"),
        ("model-00001-of-00002.safetensors", "safetensors"),
        ("model-00002-of-00002.safetensors", "safetensors"),
        ("model.safetensors.index.json", "model.file"),
        ("tokenizer.json", "model.file"),
        ("tokenizer.model", "model.file"),
    ]
    assert model.config.shown() == {
        "format": "safetensors",
        "quantization": "F32",
        "parameters": "1.50K",
        "architecture": "llama",
        "size": "6.07KiB",
        "safetensors": {"format": "pt", "tensor_count": "2"},
    }
    assert store.list() == [model]


def test_it_cannot_be_run_and_that_is_told(store: Store, folder: Path) -> None:
    model = add(store, folder)
    with pytest.raises(RunnerError, match="its weights are safetensors") as caught:
        store.bundle(model)
    assert caught.value.kind is Kind.INVALID_MODEL


def test_the_same_folder_gives_the_same_model(store: Store, folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    first = add(store, moved)
    for path in moved.rglob("*"):
        os.utime(path, (0, 0))
    assert add(Store(tmp_path / "other"), moved).id == first.id


def test_what_is_added_has_a_path_too(store: Store, folder: Path, tmp_path: Path) -> None:
    notice = tmp_path / "notice.txt"
    notice.write_text("Made by somebody.")
    model = add(store, folder, licenses=[notice], context_size=512)
    assert model.manifest.layers[-1].annotations == {media.FILE_PATH: "license.txt"}
    assert model.config.context_size == 512
    assert model.manifest.config.media_type == media.CONFIG_V02


def test_a_folder_becomes_a_modelpack_and_again_dockers(store: Store, folder: Path) -> None:
    docker = add(store, folder)
    pack = package(store, PackageRequest(from_model="tiny", form=Format.CNCF), NAME)
    assert {layer.media_type.rpartition("model.")[2] for layer in pack.manifest.layers} == {
        "weight.v1.raw",
        "weight.config.v1.raw",
        "doc.v1.raw",
    }
    assert add(store, folder, form=Format.CNCF).id == pack.id
    back = package(store, PackageRequest(from_model=pack.id.short, form=Format.DOCKER), NAME)
    assert back.manifest.layers == docker.manifest.layers


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("bad.safetensors", b"version https://git-lfs", Kind.INVALID_MODEL, "bad.safetensors: not"),
        ("a:b.json", b"{}", Kind.USAGE, "a name that other systems do not take"),
        ("con/x.json", b"{}", Kind.USAGE, "a name that other systems do not take"),
    ],
)
def test_what_cannot_be_taken_is_named(
    store: Store, folder: Path, name: str, content: bytes, kind: Kind, words: str
) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    with pytest.raises(RunnerError, match=words) as caught:
        add(store, folder)
    assert caught.value.kind is kind
    assert store.list() == []


def test_a_folder_without_weights_is_refused(store: Store, tmp_path: Path, folder: Path) -> None:
    for empty in (tmp_path / "nowhere", folder / "1_Pooling", folder / "LICENSE"):
        with pytest.raises(RunnerError) as caught:
            add(store, empty)
        assert caught.value.kind is Kind.USAGE
        assert caught.value.hint
