from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.oci import Reference
from runner.store import Store, StoredModel
from runner.store.layout import Layout
from tests.support.gguf_maker import tiny_model
from tests.support.models import add_gguf

WriteModel = Callable[..., Path]
AddModel = Callable[..., StoredModel]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root)


@pytest.fixture
def layout(store: Store) -> Layout:
    return Layout(store.path)


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """Write a sound model file outside the store; another filling is another model."""

    def write(name: str = "tiny.gguf", filling: bytes = b"\1") -> Path:
        path = tmp_path / name
        path.write_bytes(tiny_model(filling))
        return path

    return write


@pytest.fixture
def add(store: Store, write_model: WriteModel) -> AddModel:
    """Add the model of a filling under a name."""

    def add(name: str = "tiny", filling: bytes = b"\1") -> StoredModel:
        path = write_model(f"source-{filling.hex()}.gguf", filling)
        return add_gguf(store, [path], Reference.parse(name))

    return add
