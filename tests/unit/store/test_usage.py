from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.oci import Reference
from runner.store import Store
from runner.store.ingest import ingest_bytes
from runner.store.layout import Layout
from tests.support.models import add_gguf
from tests.unit.store.conftest import AddModel, WriteModel


def test_an_empty_store_takes_its_records_alone(store: Store) -> None:
    usage = store.upkeep.usage()
    assert 0 < usage.total_bytes < 1000
    assert usage.models_bytes == usage.total_bytes
    assert (usage.shared_bytes, usage.linked_bytes) == (0, 0)
    assert (usage.unfinished_bytes, usage.unneeded_bytes) == (0, 0)


@pytest.mark.parametrize("is_shared", [False, True])
def test_bytes_with_two_names_are_counted_once(
    store: Store, add: AddModel, is_shared: bool
) -> None:
    model = add("x")
    before = store.upkeep.usage().total_bytes
    if is_shared:
        store.bundle(model)
        store.tag(model, Reference.parse("y"))
    assert model.size_bytes < before
    assert store.upkeep.usage().total_bytes - before < 600


def test_what_two_models_share_and_what_is_a_users_file_is_told(
    store: Store, write_model: WriteModel, tmp_path: Path
) -> None:
    licence = tmp_path / "LICENSE"
    licence.write_text("MIT")
    weights = write_model()
    size = weights.stat().st_size
    add_gguf(store, [weights], Reference.parse("plain"))
    add_gguf(store, [weights], Reference.parse("licensed"), licenses=[licence])
    assert store.upkeep.usage().shared_bytes == size
    assert store.upkeep.usage().linked_bytes == size
    weights.unlink()  # now the bytes are the store's alone
    assert store.upkeep.usage().linked_bytes == 0


def test_unfinished_and_unneeded_bytes_are_told_apart(store: Store, layout: Layout) -> None:
    (layout.ingest / "partial").write_bytes(b"x" * 1000)
    ingest_bytes(layout, b"y" * 500)
    (layout.blobs / "sha256" / ("0" * 64 + ".bad")).write_bytes(b"z" * 70)
    usage = store.upkeep.usage()
    assert (usage.unfinished_bytes, usage.unneeded_bytes) == (1000, 570)


def test_the_hole_of_an_unfinished_file_takes_nothing(store: Store, layout: Layout) -> None:
    with (layout.ingest / "partial").open("wb") as file:
        os.ftruncate(file.fileno(), 1 << 40)
    assert store.upkeep.usage().unfinished_bytes == 0
