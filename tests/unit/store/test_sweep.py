from __future__ import annotations

import json
import os
from pathlib import Path

from runner.oci import media
from runner.store import Store
from runner.store.ingest import ingest_bytes
from runner.store.layout import Layout
from runner.store.source import Identity
from tests.unit.store.conftest import AddModel, WriteModel

NOW = -1.0  # a grace that everything has outlived


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def files(root: Path) -> dict[Path, Identity]:
    """All files but the lock, into which each owner writes its pid."""
    found = {path for path in root.rglob("*") if path.is_file()} - {root / "lock"}
    return {path: Identity.of(path.lstat()) for path in found}


def test_leftovers_of_crashes_are_removed(
    store: Store, add: AddModel, layout: Layout, write_model: WriteModel
) -> None:
    model = add("kept")
    store.bundle(model)
    kept = files(store.path)
    (layout.ingest / "partial").write_bytes(b"x" * 1000)
    (layout.ingest / "bundle").mkdir()
    (layout.bundles / ("0" * 64)).mkdir()
    orphan = ingest_bytes(layout, b"y" * 500).digest
    record = layout.linked / f"sha256-{'1' * 64}.json"
    record.write_text("{}")
    assert store.upkeep.sweep(grace_s=NOW) == 1000 + 500 + len("{}")
    assert names(layout.ingest) == set()
    assert names(layout.bundles) == {model.id.hex}
    assert not layout.blob(orphan).exists()
    assert not record.exists()
    assert files(store.path) == kept


def test_young_things_are_left_to_whoever_works_now(store: Store, layout: Layout) -> None:
    (layout.ingest / "partial").write_bytes(b"x")
    digest = ingest_bytes(layout, b"y").digest
    (layout.linked / f"sha256-{'1' * 64}.json").write_text("{}")
    before = set(store.path.rglob("*"))
    assert store.upkeep.sweep() == 0
    assert set(store.path.rglob("*")) == before
    assert layout.blob(digest).exists()


def test_a_link_to_an_old_file_is_young(
    store: Store, layout: Layout, write_model: WriteModel
) -> None:
    path = write_model()
    os.utime(path, ns=(0, 0))
    blob = layout.blob(ingest_bytes(layout, b"x").digest)
    blob.unlink()
    os.link(path, blob)
    store.upkeep.sweep()
    assert blob.exists()


def test_deleting_a_link_frees_nothing(
    store: Store, layout: Layout, write_model: WriteModel
) -> None:
    os.link(write_model(), layout.ingest / "linked")
    assert store.upkeep.sweep(grace_s=NOW) == 0


def test_files_that_are_not_blobs_are_left_alone(store: Store, layout: Layout) -> None:
    (layout.blobs / "sha256" / "README").touch()
    store.upkeep.sweep(grace_s=NOW)
    assert names(layout.blobs / "sha256") == {"README"}


def test_blobs_of_other_tools_are_kept(store: Store, layout: Layout) -> None:
    leaf = ingest_bytes(layout, b"a layer")
    manifest = ingest_bytes(layout, json.dumps({"layers": [{"digest": str(leaf.digest)}]}).encode())
    index = json.loads(layout.index.read_bytes())
    index["manifests"].append(
        {"mediaType": media.INDEX, "digest": str(manifest.digest), "size": manifest.size_bytes}
    )
    layout.index.write_text(json.dumps(index))
    store.upkeep.sweep(grace_s=NOW)
    assert layout.blob(leaf.digest).exists()
    assert layout.blob(manifest.digest).exists()
