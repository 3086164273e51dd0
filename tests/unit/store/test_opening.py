from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.store import Store
from runner.store.layout import Layout
from tests.support.models import add_gguf
from tests.unit.store.conftest import AddModel, WriteModel


def modes(root: Path) -> set[tuple[bool, int]]:
    return {(path.is_dir(), path.stat().st_mode & 0o777) for path in [root, *root.rglob("*")]}


def test_a_new_store_is_an_image_layout_and_private(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        store = Store(tmp_path / "a" / "b" / "models")
        assert store.list() == []
    finally:
        os.umask(umask)
    assert json.loads((store.path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((store.path / "index.json").read_bytes())["manifests"] == []
    assert modes(store.path) == {(True, 0o700), (False, 0o600)}


def test_opening_again_changes_nothing(store: Store, add: AddModel) -> None:
    add("x")
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
    assert [model.tags for model in Store(store.path).list()] == [("docker.io/ai/x:latest",)]
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*")} == before


def refusal(root: Path) -> str:
    with pytest.raises(RunnerError) as caught:
        Store(root)
    assert caught.value.kind is Kind.STORE
    assert caught.value.hint
    return caught.value.message


def test_a_folder_of_something_else_is_left_alone(root: Path) -> None:
    root.mkdir()
    (root / "thesis.tex").touch()
    assert "not a model store and not empty (it holds 'thesis.tex')" in refusal(root)
    assert [path.name for path in root.iterdir()] == ["thesis.tex"]


def test_a_store_of_docker_model_runner_is_left_alone(root: Path) -> None:
    root.mkdir()
    (root / "layout.json").write_text('{"version":"1.0.0"}')
    (root / "models.json").write_text('{"models":[]}')
    (root / "blobs").mkdir()
    assert "is a store of Docker Model Runner" in refusal(root)


def test_a_file_is_no_store(root: Path) -> None:
    root.touch()
    assert "is not a folder" in refusal(root)


def test_an_empty_disk_may_become_a_store(root: Path) -> None:
    (root / "lost+found").mkdir(parents=True)
    assert Store(root).list() == []


@pytest.mark.parametrize("version", ["2.0.0", "1x", "", "9"])
def test_a_store_of_a_newer_version_is_read_and_not_changed(
    store: Store, add: AddModel, write_model: WriteModel, version: str
) -> None:
    model = add("x")
    (store.path / "oci-layout").write_text(json.dumps({"imageLayoutVersion": version}))
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
    newer = Store(store.path)
    assert [found.id for found in newer.list()] == [model.id]
    assert newer.resolve("x").id == model.id
    path, name = write_model(), Reference.parse("y")
    for change in (
        lambda: add_gguf(newer, [path], name),
        lambda: newer.tag(model, name),
        lambda: newer.remove("x"),
        lambda: newer.upkeep.sweep(),
    ):
        with pytest.raises(RunnerError) as caught:
            change()
        assert caught.value.kind is Kind.STORE
        assert "read-only" in caught.value.message
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*")} == before


def test_a_newer_store_with_a_damaged_index_is_still_listed(store: Store, add: AddModel) -> None:
    model = add("x")
    (store.path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')
    (store.path / "index.json").write_bytes(b"damaged")
    assert [found.id for found in Store(store.path).list()] == [model.id]
    assert (store.path / "index.json").read_bytes() == b"damaged"


def test_a_damaged_marker_is_kept_and_written_again(store: Store, add: AddModel) -> None:
    model = add("x")
    (store.path / "oci-layout").write_bytes(b"\0\0")
    assert [found.id for found in Store(store.path).list()] == [model.id]
    assert (store.path / "oci-layout.bad").read_bytes() == b"\0\0"
    assert json.loads((store.path / "oci-layout").read_bytes())["imageLayoutVersion"] == "1.0.0"
    assert [found.id for found in Store(store.path).list()] == [model.id]


def test_a_missing_marker_is_written_again(store: Store, add: AddModel) -> None:
    model = add("x")
    (store.path / "oci-layout").unlink()
    assert [found.id for found in Store(store.path).list()] == [model.id]


@pytest.mark.parametrize("damage", [b"", b"\0" * 700, b'{"manifests":[', None])
def test_a_damaged_index_is_rebuilt_with_its_tags(
    store: Store, add: AddModel, damage: bytes | None
) -> None:
    x, y = add("x", b"\1"), add("y", b"\2")
    store.tag(x, Reference.parse("z:v1"))
    index = store.path / "index.json"
    if damage is None:
        index.unlink()
    else:
        index.write_bytes(damage)
    assert {model.id: model.tags for model in store.list()} == {
        x.id: ("docker.io/ai/x:latest", "docker.io/ai/z:v1"),
        y.id: ("docker.io/ai/y:latest",),
    }
    bad = store.path / "index.json.bad"
    assert (bad.read_bytes() if bad.exists() else None) == damage
    assert Store(store.path).resolve("z:v1").id == x.id


def test_without_its_mirror_a_damaged_index_is_rebuilt_without_tags(
    store: Store, add: AddModel
) -> None:
    model = add("x")
    (store.path / "index.json").write_bytes(b"?")
    (store.path / "index.json.bak").write_bytes(b"?")
    assert [(found.id, found.tags) for found in store.list()] == [(model.id, ())]
    assert store.resolve(model.id.short).id == model.id


def test_a_rebuilt_index_lists_only_whole_models(store: Store, add: AddModel) -> None:
    whole, broken = add("x", b"\1"), add("y", b"\2")
    layout = Layout(store.path)
    layout.blob(broken.manifest.layers[0].digest).unlink()
    (store.path / "index.json").unlink()
    assert [model.id for model in store.list()] == [whole.id]


def test_a_store_that_disappears_is_not_begun_anew(store: Store, add: AddModel) -> None:
    model = add("x")
    store.path.rename(store.path.with_name("elsewhere"))
    store.path.mkdir()  # the bare mount point
    for use in (store.list, lambda: store.resolve("x"), lambda: store.remove("x")):
        with pytest.raises(RunnerError) as caught:
            use()
        assert caught.value.kind is Kind.STORE
        assert "has disappeared" in caught.value.message
    assert list(store.path.iterdir()) == []
    store.path.rmdir()
    store.path.with_name("elsewhere").rename(store.path)
    assert store.resolve("x").id == model.id


def test_the_disks_errors_are_ours_with_a_hint(store: Store) -> None:
    (store.path / "index.json").unlink(missing_ok=True)
    (store.path / "index.json").mkdir()
    with pytest.raises(RunnerError) as caught:
        store.list()
    assert caught.value.kind is Kind.STORE
    assert "the model store failed while listing models: Is a directory" in caught.value.message
