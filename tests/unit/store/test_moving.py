"""Moving the store: by rename, and by a copy to another disk, which here is memory."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.store import Store, StoredModel, find_store, remember_store
from runner.store.claims import claimed
from runner.store.layout import Layout
from runner.store.uses import last_used_s
from tests.support.models import add_gguf
from tests.unit.store.conftest import AddModel, WriteModel

SHM = Path("/dev/shm")


def nothing(*_: object) -> None:
    """Hear of progress, and of the start."""


def move(store: Store, target: Path) -> None:
    store.move(target, on_start=nothing, on_progress=nothing)


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the store's."""
    if not SHM.is_dir() or SHM.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has one file system only: nothing can be moved to another")
    with tempfile.TemporaryDirectory(dir=SHM) as folder:
        yield Path(folder) / "models"


def check_moved(store: Store, old: Path, target: Path, models: list[StoredModel]) -> None:
    assert store.path == target
    assert not old.exists()
    for opened in (store, Store(target)):
        assert [(model.id, model.tags) for model in opened.list()] == [
            (model.id, model.tags) for model in models
        ]
        assert opened.upkeep.check().damages == ()


@pytest.mark.parametrize("is_there", [False, True])
def test_on_the_same_disk_the_store_is_renamed(
    store: Store, add: AddModel, tmp_path: Path, is_there: bool
) -> None:
    models = [add("x", b"\1"), add("y", b"\2")]
    inode = store.path.stat().st_ino
    old, target = store.path, tmp_path / "deep" / "new"
    if is_there:
        target.mkdir(parents=True)
    move(store, target)
    check_moved(store, old, target, models)
    assert target.stat().st_ino == inode
    add("z", b"\3")  # it is used from there on
    assert len(Store(target).list()) == 3
    assert store.bundle(store.resolve("z")).gguf_path.is_relative_to(target)


def test_to_another_disk_it_is_copied_with_all_that_is_known(
    store: Store, add: AddModel, layout: Layout, other_disk: Path
) -> None:
    models = [add("x", b"\1"), add("y", b"\2")]
    store.bundle(models[0])
    os.utime(layout.bundle(models[0].id), (1_000_000_000,) * 2)
    os.utime(layout.blob(models[0].id), (900_000_000,) * 2)
    told: list[tuple[int, int]] = []
    old = store.path
    store.move(other_disk, on_start=nothing, on_progress=lambda *counts: told.append(counts))
    check_moved(store, old, other_disk, models)
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] > sum(model.size_bytes for model in models)
    assert last_used_s(Layout(other_disk), models[0].id) == 1_000_000_000
    assert list((other_disk / "linked").iterdir()) == []  # its bytes are its own now
    assert {path.stat().st_mode & 0o777 for path in other_disk.rglob("*")} == {0o700, 0o600}


def test_a_mount_point_is_emptied_and_left(
    store: Store, add: AddModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add("x")
    old = store.path

    def rename(self: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    def rmdir(self: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(Path, "rmdir", rmdir)
    move(store, tmp_path / "new")
    monkeypatch.undo()
    assert [found.id for found in store.list()] == [model.id]
    assert list(old.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "kind", "message"),
    [
        ("models", Kind.USAGE, "is inside the store"),
        ("models/blobs", Kind.USAGE, "is inside the store"),
        (".", Kind.USAGE, "has the store inside"),
        ("second", Kind.USAGE, "is a model store already"),
        ("thesis", Kind.STORE, "is not a model store and not empty (it holds 'thesis.tex')"),
        ("file", Kind.STORE, "is not a folder"),
    ],
)
def test_a_place_that_is_not_free_is_refused(
    store: Store, add: AddModel, tmp_path: Path, place: str, kind: Kind, message: str
) -> None:
    model = add("x")
    Store(tmp_path / "second")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    begun: list[None] = []
    with pytest.raises(RunnerError) as caught:
        store.move(tmp_path / place, on_start=lambda: begun.append(None), on_progress=nothing)
    assert (caught.value.kind, begun) == (kind, [])
    assert message in caught.value.message
    assert [found.id for found in store.list()] == [model.id]


def test_it_is_not_moved_while_a_model_is_added(
    store: Store, layout: Layout, tmp_path: Path
) -> None:
    with claimed(layout), pytest.raises(RunnerError) as caught:
        move(store, tmp_path / "new")
    assert caught.value.kind is Kind.BUSY
    assert not (tmp_path / "new").exists()


def test_e2_a_disk_that_is_too_small_is_told_with_both_numbers(
    store: Store, add: AddModel, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add("x")
    monkeypatch.setattr("runner.store.ingest.free_bytes", lambda folder: 1000)
    with pytest.raises(RunnerError) as caught:
        move(store, other_disk)
    assert caught.value.kind is Kind.DISK_FULL
    assert caught.value.details["have_bytes"] == 1000
    assert caught.value.details["need_bytes"] > model.size_bytes
    assert [found.id for found in store.list()] == [model.id]


def test_a_damaged_blob_stops_a_copy_and_the_old_store_stays(
    store: Store, write_model: WriteModel, other_disk: Path
) -> None:
    path = write_model()
    model = add_gguf(store, [path], Reference.parse("x"))
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\7")
    old = store.path
    with pytest.raises(RunnerError) as caught:
        move(store, other_disk)
    assert caught.value.kind is Kind.INTEGRITY
    assert [found.id for found in Store(old).list()] == [model.id]
    assert not Layout(other_disk).marker.exists()


class Crash(Exception):
    """The process dies here."""


def test_e1_a_crash_at_any_moment_leaves_one_store(
    store: Store, add: AddModel, other_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [add("x", b"\1"), add("y", b"\2")]
    home, memory = store.path, tmp_path / "state" / "models-path.json"
    crashes = 0

    def count(name: str) -> None:
        """Die before the call that is next to be survived."""
        original = getattr(os, name)

        def call(*args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash
            return original(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for survived in range(0, 200, 3):
        place = find_store(memory, default=home)
        assert [model.id for model in Store(place).list()] == [model.id for model in models]
        current = Store(place)
        left = survived
        for name in ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir"):
            count(name)
        with suppress(Crash):
            current.move(
                other_disk,
                on_start=lambda place=place: remember_store(  # type: ignore[misc]
                    memory, target=other_disk, source=place
                ),
                on_progress=nothing,
            )
        crashes += left < 0
        monkeypatch.undo()
        if find_store(memory, default=home) == other_disk:
            assert Store(other_disk).upkeep.check().damages == ()
            break
    assert crashes > 5
    assert [model.id for model in Store(find_store(memory, default=home)).list()] == [
        model.id for model in models
    ]


def test_the_place_is_remembered_as_long_as_there_is_a_store(tmp_path: Path) -> None:
    memory, home = tmp_path / "state" / "models-path.json", tmp_path / "home"
    assert find_store(memory, default=home) == home
    target = tmp_path / "target"
    Store(home)
    remember_store(memory, target=target, source=home)
    assert find_store(memory, default=home) == home  # the move has not come so far
    Store(target)
    assert find_store(memory, default=home) == target
    (target / "oci-layout").unlink()
    (home / "oci-layout").unlink()
    with pytest.raises(RunnerError) as caught:
        find_store(memory, default=home)
    assert caught.value.kind is Kind.STORE
    assert f"the models were moved to {target}, and there is no store now" in caught.value.message
    assert f"delete {memory}" in (caught.value.hint or "")


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b"\xff", b'{"path": 1, "from": 2}'])
def test_e19_a_damaged_memory_is_told_and_no_empty_store_begun(
    tmp_path: Path, damage: bytes
) -> None:
    memory = tmp_path / "models-path.json"
    memory.write_bytes(damage)
    with pytest.raises(RunnerError) as caught:
        find_store(memory, default=tmp_path / "home")
    assert caught.value.kind is Kind.STORE
    assert str(memory) in caught.value.message


def test_what_is_in_use_at_the_old_place_goes_on(
    store: Store, add: AddModel, other_disk: Path
) -> None:
    with store.bundle(add("x")).gguf_path.open("rb") as worker:
        move(store, other_disk)
        assert worker.read(4) == b"GGUF"
