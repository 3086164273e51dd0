"""What a failing disk, a crash or another version does to a store in use (matrix E)."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.store import PruneWish, Store, StoredModel
from runner.store.layout import Layout
from tests.support.gguf_maker import tiny_model
from tests.support.models import add_gguf
from tests.unit.store.conftest import AddModel, WriteModel

FAULTS = {
    errno.EIO: "the disk reports errors",
    errno.EROFS: "that its disk is not read-only",
    errno.EACCES: "check owner and mode",
}


def nothing(*_: object) -> None:
    """Hear of nothing."""


def refuse_writes(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have every call that changes the disk fail, as one that has become read-only does."""

    def fail(path: object, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    real = os.open

    def open_(path: object, flags: int, *mode: int, **where: int) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            fail(path)
        return real(path, flags, *mode, **where)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", open_)
    for name in ("rename", "replace", "link", "unlink", "mkdir", "rmdir", "utime"):
        monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("number", FAULTS)
def test_e3_a_disk_that_takes_no_writes_is_told_and_its_models_are_used(
    store: Store,
    add: AddModel,
    write_model: WriteModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    model = add("x")
    bundle = store.bundle(model)
    path = write_model("new.gguf", b"\5")
    changes: dict[str, Callable[[], object]] = {
        "add": lambda: add_gguf(store, [path], Reference.parse("y")),
        "tag": lambda: store.tag(model, Reference.parse("z")),
        "remove": lambda: store.remove("x"),
        "prune": lambda: store.upkeep.prune(PruneWish()),
        "purge": lambda: store.upkeep.purge(),
        "sweep": lambda: store.upkeep.sweep(),
        "repair": lambda: store.upkeep.check(repair=True),
        "move": lambda: store.move(tmp_path / "m", on_start=nothing, on_progress=nothing),
    }
    refuse_writes(monkeypatch, number)
    for name, change in changes.items():
        if name == "repair":  # nothing is damaged, so nothing is written
            assert store.upkeep.check(repair=True).damages == ()
            continue
        with pytest.raises(RunnerError) as caught:
            change()
        assert caught.value.kind is Kind.STORE, name
        assert FAULTS[number] in (caught.value.hint or ""), name
    assert store.resolve("x").id == model.id
    assert store.bundle(store.resolve("x")) == bundle
    assert bundle.gguf_path.read_bytes() == tiny_model()
    monkeypatch.undo()
    assert store.tag(model, Reference.parse("z")).tags[-1] == "docker.io/ai/z:latest"


def test_e3_an_unmounted_store_is_not_begun_anew_by_any_chore(
    store: Store, add: AddModel, tmp_path: Path
) -> None:
    model = add("x")
    with store.bundle(model).gguf_path.open("rb") as worker:
        store.path.rename(tmp_path / "away")
        store.path.mkdir()  # the bare mount point
        chores: tuple[Callable[[], object], ...] = (
            store.upkeep.usage,
            store.upkeep.check,
            store.upkeep.purge,
            store.upkeep.sweep,
            lambda: store.upkeep.prune(PruneWish()),
            lambda: store.move(tmp_path / "m", on_start=nothing, on_progress=nothing),
        )
        for chore in chores:
            with pytest.raises(RunnerError) as caught:
                chore()
            assert caught.value.kind is Kind.STORE
            assert "has disappeared" in caught.value.message
        assert list(store.path.iterdir()) == []
        assert worker.read(4) == b"GGUF"  # what runs goes on


@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 100, b"[]", b'{"schemaVersion":2}'])
@pytest.mark.parametrize("name", ["index.json", "index.json.bak", "oci-layout"])
def test_e19_a_damaged_record_costs_no_model(
    store: Store, add: AddModel, name: str, damage: bytes
) -> None:
    models = [add("x", b"\1"), add("y", b"\2")]
    (store.path / name).write_bytes(damage)
    found = Store(store.path).list()
    assert [(model.id, model.tags) for model in found] == [
        (model.id, model.tags) for model in models
    ]


@pytest.mark.parametrize("part", ["manifest", "config"])
def test_e19_a_damaged_document_is_told_and_repaired_by_adding_the_model_again(
    store: Store, add: AddModel, layout: Layout, part: str
) -> None:
    broken, sound = add("x", b"\1"), add("y", b"\2")
    digest = broken.id if part == "manifest" else broken.manifest.config.digest
    size = layout.blob(digest).stat().st_size
    layout.blob(digest).write_bytes(b"{" * size)
    again = Store(store.path)
    assert [model.id for model in again.list()] == [sound.id]
    with pytest.raises(RunnerError) as caught:
        again.resolve("x")
    assert caught.value.kind is Kind.INTEGRITY
    [found] = again.upkeep.check(repair=True).damages
    assert (found.digest, found.remedy) == (digest, "set aside")
    assert layout.blob(digest).with_suffix(".bad").stat().st_size == size
    assert add("x", b"\1").id == broken.id
    assert len(again.list()) == 2


def test_e20_an_older_version_reads_the_store_of_a_newer_one_and_changes_nothing(
    store: Store, add: AddModel
) -> None:
    model = add("x")
    (store.path / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    before = {path: path.lstat().st_mtime_ns for path in store.path.rglob("*")}
    older = Store(store.path)
    assert older.upkeep.usage().models_bytes > 0
    assert older.upkeep.check().damages == ()
    chores: tuple[Callable[[], object], ...] = (
        older.upkeep.purge,
        older.upkeep.sweep,
        lambda: older.upkeep.prune(PruneWish()),
        lambda: older.upkeep.check(repair=True),
        lambda: older.move(store.path.parent / "m", on_start=nothing, on_progress=nothing),
    )
    for chore in chores:
        with pytest.raises(RunnerError) as caught:
            chore()
        assert caught.value.kind is Kind.STORE
        assert "read-only" in caught.value.message
    assert [found.id for found in older.list()] == [model.id]
    assert {path: path.lstat().st_mtime_ns for path in store.path.rglob("*")} == before


def test_e20_a_store_of_the_first_version_is_used_as_it_is(
    store: Store, add: AddModel, write_model: WriteModel
) -> None:
    """It had no folder for unfinished downloads, and no claims."""
    model = add("x")
    (store.path / "partials").rmdir()
    index = json.loads((store.path / "index.json").read_bytes())
    again = Store(store.path)
    assert [found.id for found in again.list()] == [model.id]
    assert json.loads((store.path / "index.json").read_bytes()) == index
    add_gguf(again, [write_model("y.gguf", b"\5")], Reference.parse("y"))
    assert len(again.list()) == 2


def test_e2_a_full_disk_stops_no_chore_that_frees_it(
    store: Store, add: AddModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[StoredModel] = [add("x", b"\1"), add("y", b"\2")]
    (store.path / "ingest" / "half").write_bytes(b"x" * 1000)
    real = os.open

    def open_(path: object, flags: int, *mode: int, **where: int) -> int:
        if flags & os.O_EXCL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, flags, *mode, **where)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", open_)
    assert store.upkeep.prune(PruneWish()).freed_bytes >= 1000
    with pytest.raises(RunnerError) as caught:
        store.remove("x")  # its index cannot be written: nothing of the model is deleted
    assert caught.value.kind is Kind.DISK_FULL
    assert "have_bytes" in caught.value.details
    monkeypatch.undo()
    assert [model.id for model in store.list()] == [model.id for model in models]
    assert store.upkeep.check().damages == ()


def test_e2_a_model_is_removed_from_a_disk_without_a_free_byte(
    store: Store, add: AddModel, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a user is told to do about a full disk must be possible on one."""
    add("x", b"\1")
    model = add("y", b"\2")
    store.tag(model, Reference.parse("z"))
    real = os.open

    def open_(path: object, flags: int, *mode: int, **where: int) -> int:
        if flags & os.O_EXCL and layout.mirror.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, flags, *mode, **where)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", open_)
    with pytest.raises(RunnerError) as caught:
        store.tag(model, Reference.parse("a-name-more"))  # this makes the index longer
    assert caught.value.kind is Kind.DISK_FULL
    assert store.remove("x").deleted is not None
    assert [found.id for found in store.list()] == [model.id]
    monkeypatch.undo()
    store.remove("z")
    assert layout.mirror.read_bytes() == layout.index.read_bytes()
