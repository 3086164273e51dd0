"""E3 and E19 at rest: what the disk did to the store is found and named, and repaired if it can."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference
from runner.store import Store, StoredModel, check
from runner.store.blobs import hashes_to
from runner.store.check import Damage, Remedy
from runner.store.faults import disk_full
from runner.store.layout import Layout
from runner.store.source import OnBytes
from tests.support.models import add_gguf
from tests.unit.store.conftest import AddModel, WriteModel

X = "docker.io/ai/x:latest"


def test_a_sound_store_has_no_damage(store: Store, add: AddModel) -> None:
    add("x")
    told: list[tuple[int, int]] = []
    checkup = store.upkeep.check(on_progress=lambda *counts: told.append(counts))
    assert (checkup.blobs, checkup.damages) == (3, ())
    assert told[-1] == (checkup.bytes, checkup.bytes)


@pytest.fixture
def copied(store: Store, add: AddModel, tmp_path: Path) -> StoredModel:
    """A model whose bytes are the store's own."""
    model = add("x")
    weights = model.manifest.layers[0]
    blob = Layout(store.path).blob(weights.digest)
    content = blob.read_bytes()
    blob.unlink()
    blob.write_bytes(content)
    Layout(store.path).loan(weights.digest).unlink()
    for path in tmp_path.glob("*.gguf"):
        path.unlink()
    return model


def damage(store: Store, model: StoredModel) -> Path:
    """Flip a byte, which no size and no time tells of."""
    blob = Layout(store.path).blob(model.manifest.layers[0].digest)
    with blob.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\7")
    return blob


def test_a_flipped_byte_is_found_and_without_repair_left(store: Store, copied: StoredModel) -> None:
    blob = damage(store, copied)
    digest = copied.manifest.layers[0].digest
    [found] = store.upkeep.check().damages
    assert found == Damage(digest, "has other bytes than its name", (X,), Remedy.NONE)
    assert blob.exists()


def test_a_damaged_blob_is_set_aside_and_adding_the_model_repairs_it(
    store: Store, copied: StoredModel, add: AddModel, layout: Layout
) -> None:
    store.bundle(copied)
    blob = damage(store, copied)
    [found] = store.upkeep.check(repair=True).damages
    assert found.remedy is Remedy.SET_ASIDE
    assert blob.with_suffix(".bad").exists()
    assert not layout.bundle(copied.id).exists()
    with pytest.raises(RunnerError) as caught:
        store.resolve("x")
    assert caught.value.kind is Kind.INTEGRITY
    assert "pull or add the model again" in (caught.value.hint or "")
    assert add("x").id == copied.id
    assert store.upkeep.check().damages == ()
    assert store.bundle(store.resolve("x")).gguf_path.samefile(blob)


def test_a_users_file_that_changed_is_let_go_and_not_touched(
    store: Store, write_model: WriteModel
) -> None:
    path = write_model()
    add_gguf(store, [path], Reference.parse("x"))
    with path.open("ab") as file:
        file.write(b"more")
    changed = path.read_bytes()
    [found] = store.upkeep.check(repair=True).damages
    assert (found.problem, found.remedy) == (f"was changed in {path}", Remedy.RELEASED)
    assert path.read_bytes() == changed
    assert list((store.path / "linked").iterdir()) == []


def test_a_missing_blob_is_restored_from_the_users_file(
    store: Store, write_model: WriteModel, layout: Layout
) -> None:
    model = add_gguf(store, [write_model()], Reference.parse("x"))
    layout.blob(model.manifest.layers[0].digest).unlink()
    [found] = store.upkeep.check(repair=True).damages
    assert (found.problem, found.remedy) == ("is missing", Remedy.RESTORED)
    assert store.bundle(store.resolve("x")).gguf_path.is_file()


def test_a_disk_too_full_to_restore_a_blob_is_told(
    store: Store, add: AddModel, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add("x")
    layout.blob(model.manifest.layers[0].digest).unlink()

    def full(*arguments: object, **more: object) -> None:
        raise disk_full("copying", need_bytes=2, have_bytes=1)

    monkeypatch.setattr(check, "ingest_file", full)
    with pytest.raises(RunnerError) as caught:
        store.upkeep.check(repair=True)
    assert caught.value.kind is Kind.DISK_FULL


def test_what_nobody_can_restore_is_told(store: Store, copied: StoredModel, layout: Layout) -> None:
    layout.blob(copied.manifest.layers[0].digest).unlink()
    layout.blob(copied.manifest.config.digest).unlink()
    layout.blob(copied.manifest.config.digest).symlink_to("/etc/passwd")
    found = {damage.problem: damage for damage in store.upkeep.check(repair=True).damages}
    assert found["is missing"].remedy is Remedy.NONE
    assert found["is not a regular file"].remedy is Remedy.SET_ASIDE
    assert {damage.models for damage in found.values()} == {(X,)}


def test_e3_a_blob_that_cannot_be_read_does_not_end_the_check(
    store: Store, add: AddModel, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = add("x", b"\1"), add("y", b"\2")
    dying = layout.blob(first.manifest.layers[0].digest)
    layout.blob(second.manifest.layers[0].digest).unlink()
    layout.loan(second.manifest.layers[0].digest).unlink()

    def read(path: Path, digest: Digest, on_bytes: OnBytes) -> bool:
        if path == dying:
            raise OSError(5, "Input/output error", str(path))
        return hashes_to(path, digest, on_bytes)

    monkeypatch.setattr(check, "hashes_to", read)
    problems = {damage.models: damage.problem for damage in store.upkeep.check().damages}
    assert problems == {
        (X,): "cannot be read: Input/output error",
        ("docker.io/ai/y:latest",): "is missing",
    }


def test_who_stops_a_check_stops_it(store: Store, add: AddModel) -> None:
    add("x")

    def stop(done: int, total: int) -> None:
        raise RunnerError(Kind.CANCELLED, "enough")

    with pytest.raises(RunnerError, match="enough"):
        store.upkeep.check(on_progress=stop)
