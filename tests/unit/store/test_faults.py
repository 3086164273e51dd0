from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.store import Store
from runner.store.faults import storage_errors
from runner.store.layout import Layout
from tests.support.models import add_gguf
from tests.unit.store.conftest import AddModel, WriteModel

FAULTS = [
    (errno.ENOSPC, Kind.DISK_FULL, "runner rm"),
    (errno.EDQUOT, Kind.DISK_FULL, "runner rm"),
    (errno.EROFS, Kind.STORE, "not read-only"),
    (errno.EACCES, Kind.STORE, "owner and mode"),
    (errno.EIO, Kind.STORE, "check it before you go on"),
    (errno.ENODEV, Kind.STORE, "is mounted"),
]


@pytest.mark.parametrize(("number", "kind", "hint"), FAULTS)
def test_each_fault_of_the_disk_has_its_next_step(
    tmp_path: Path, number: int, kind: Kind, hint: str
) -> None:
    with pytest.raises(RunnerError) as caught, storage_errors("working", tmp_path):
        raise OSError(number, os.strerror(number), "/some/file")
    assert caught.value.kind is kind
    assert "working" in caught.value.message
    assert hint in str(caught.value)


def test_a_full_disk_is_told_with_the_bytes_that_are_free(tmp_path: Path) -> None:
    for root, has_free in ((tmp_path, True), (tmp_path / "gone", False)):
        with pytest.raises(RunnerError) as caught, storage_errors("working", root):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert caught.value.details["need_bytes"] is None
        assert bool(caught.value.details["have_bytes"]) is has_free


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ours"), storage_errors("working", tmp_path):
        raise ValueError("ours")


@pytest.mark.parametrize("moment", range(12))
def test_a_full_disk_at_any_write_loses_no_model(
    store: Store,
    add: AddModel,
    write_model: WriteModel,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    moment: int,
) -> None:
    kept, path = add("kept"), write_model("new.gguf", b"\2")
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == moment + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunnerError) as caught:
            add_gguf(store, [path], Reference.parse("new"))
    assert caught.value.kind is Kind.DISK_FULL
    assert list(layout.ingest.iterdir()) == []
    assert kept in store.list()
    model = add_gguf(store, [path], Reference.parse("new"))
    assert store.list() == [kept, model]
    assert store.bundle(model).gguf_path.samefile(path)


def test_a_store_on_a_disk_mounted_read_only_is_read(
    store: Store, add: AddModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add("x")

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    opened = Store(store.path)
    assert opened.list() == [model]
    with pytest.raises(RunnerError, match="opened read-only"):
        opened.remove("x")
    with pytest.raises(RunnerError, match="Read-only file system"):
        Store(store.path / "new")
