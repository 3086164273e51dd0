from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.store import Store, StoredModel
from runner.store.claims import claimed
from runner.store.ingest import ingest_bytes
from runner.store.layout import Layout
from runner.store.prune import PruneWish
from tests.support.models import add_gguf
from tests.unit.store.conftest import AddModel, WriteModel

DAY_S = 86400.0


def age(layout: Layout, model: StoredModel, *, stored_days: float, used_days: float | None) -> None:
    """Give a model a past."""
    times = {layout.blob(model.id): stored_days}
    if used_days is not None:
        times[layout.bundle(model.id)] = used_days
    for path, days in times.items():
        os.utime(path, (time.time() - days * DAY_S,) * 2)


def await_tick(layout: Layout) -> None:
    """Wait until the file system's clock has moved, so that what comes is younger."""
    probe = layout.root / "lock"
    probe.touch()
    before = probe.stat().st_mtime_ns
    deadline = time.monotonic() + 5
    while probe.stat().st_mtime_ns == before:
        assert time.monotonic() < deadline
        probe.touch()


def tags(store: Store) -> list[str]:
    return [tag for model in store.list() for tag in model.tags]


def test_what_no_model_needs_goes_at_once_and_models_stay(
    store: Store, add: AddModel, layout: Layout
) -> None:
    model = add("x")
    (layout.ingest / "partial").write_bytes(b"x" * 1000)
    (layout.blobs / "sha256" / ("0" * 64 + ".bad")).write_bytes(b"z" * 70)
    orphan = ingest_bytes(layout, b"y" * 500).digest
    pruned = store.upkeep.prune(PruneWish())
    assert (pruned.models, pruned.freed_bytes) == ((), 1570)
    assert not layout.blob(orphan).exists()
    assert list(layout.ingest.iterdir()) == []
    assert store.list() == [model]


def test_a_dry_run_tells_the_same_and_changes_nothing(
    store: Store, add: AddModel, layout: Layout
) -> None:
    model = add("x")
    store.bundle(model)
    age(layout, model, stored_days=40, used_days=35)
    ingest_bytes(layout, b"y" * 500)
    wish = PruneWish(unused_before_s=time.time() - 30 * DAY_S)
    promised = store.upkeep.prune(wish, is_dry_run=True)
    assert len(store.list()) == 1
    assert [entry.tags for entry in promised.models] == [("docker.io/ai/x:latest",)]
    before = store.upkeep.usage().total_bytes
    assert store.upkeep.prune(wish) == promised
    # The weights are a link to the user's file, so deleting them gives nothing back.
    gone = before - store.upkeep.usage().total_bytes
    assert 0 < promised.freed_bytes < gone
    assert store.list() == []


def test_models_unused_for_long_go_by_last_use_and_not_by_age(
    store: Store, add: AddModel, layout: Layout
) -> None:
    never, old, recent, young = (add(name, name.encode()) for name in "abcd")
    for model in (old, recent):
        store.bundle(model)
    age(layout, never, stored_days=40, used_days=None)
    age(layout, old, stored_days=90, used_days=31)
    age(layout, recent, stored_days=90, used_days=29)
    age(layout, young, stored_days=1, used_days=None)
    store.upkeep.prune(PruneWish(unused_before_s=time.time() - 30 * DAY_S))
    assert tags(store) == ["docker.io/ai/c:latest", "docker.io/ai/d:latest"]


def test_each_load_counts_as_a_use(store: Store, add: AddModel, layout: Layout) -> None:
    model = add("x")
    store.bundle(model)
    age(layout, model, stored_days=90, used_days=90)
    store.bundle(model)
    store.upkeep.prune(PruneWish(unused_before_s=time.time() - DAY_S))
    assert len(store.list()) == 1


def test_a_model_in_memory_stays(store: Store, add: AddModel, layout: Layout) -> None:
    model = add("x")
    age(layout, model, stored_days=90, used_days=None)
    wish = PruneWish(unused_before_s=time.time(), in_use=frozenset({model.id}))
    assert store.upkeep.prune(wish).models == ()


def test_models_without_a_name_go_when_asked_for(store: Store, add: AddModel) -> None:
    add("x", b"\1")
    add("x", b"\2")
    assert len(store.list()) == 2
    assert store.upkeep.prune(PruneWish()).models == ()
    assert [entry.tags for entry in store.upkeep.prune(PruneWish(untagged=True)).models] == [()]
    assert tags(store) == ["docker.io/ai/x:latest"]


def test_bytes_that_another_model_needs_stay(
    store: Store, write_model: WriteModel, layout: Layout, tmp_path: Path
) -> None:
    licence = tmp_path / "LICENSE"
    licence.write_text("MIT")
    old = add_gguf(store, [write_model()], Reference.parse("old"), licenses=[licence])
    new = add_gguf(store, [write_model()], Reference.parse("new"))
    age(layout, old, stored_days=90, used_days=None)
    store.upkeep.prune(PruneWish(unused_before_s=time.time() - DAY_S))
    assert store.list() == [new]
    assert store.bundle(new).gguf_path.is_file()


# ---- E4: pull and rm, pull and prune, at the same time ----------------------------------------


def test_e4_what_a_writer_at_work_has_stored_is_not_pruned(store: Store, layout: Layout) -> None:
    before = ingest_bytes(layout, b"left by a crash").digest
    await_tick(layout)
    with claimed(layout):
        mine = ingest_bytes(layout, b"a layer of a model that is being pulled").digest
        (layout.ingest / "half").touch()
        store.upkeep.prune(PruneWish())
        store.upkeep.sweep(grace_s=-1.0)
        assert layout.blob(mine).exists()
        assert (layout.ingest / "half").exists()
        assert not layout.blob(before).exists()
    store.upkeep.prune(PruneWish())
    assert not layout.blob(mine).exists()


def test_e4_a_blob_that_a_writer_takes_over_survives_the_removal_of_its_model(
    store: Store, add: AddModel, layout: Layout, write_model: WriteModel
) -> None:
    weights = add("x").manifest.layers[0].digest
    await_tick(layout)
    with claimed(layout):
        add_gguf(store, [write_model("same.gguf")], Reference.parse("y"))  # renews what is there
        with claimed(layout):
            store.remove("y")
            store.remove("x")
            assert layout.blob(weights).exists()
    store.upkeep.prune(PruneWish())
    assert not layout.blob(weights).exists()


def test_e4_a_claim_ends_with_its_process(store: Store, layout: Layout) -> None:
    code = (
        "import os, sys; from pathlib import Path; from runner.store.layout import Layout\n"
        "from runner.store.claims import claimed\n"
        "held = claimed(Layout(Path(sys.argv[1]))); held.__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(store.path)], check=False)
    [_] = layout.ingest.glob("*.claim")
    ingest_bytes(layout, b"left by it")
    store.upkeep.prune(PruneWish())
    assert list(layout.ingest.iterdir()) == []
    assert list((layout.blobs / "sha256").iterdir()) == []


# ---- purge ----------------------------------------------------------------------------------


def test_purging_leaves_an_empty_store(store: Store, add: AddModel, layout: Layout) -> None:
    store.bundle(add("x"))
    add("y", b"\2")
    (layout.ingest / "partial").write_bytes(b"x")
    assert store.upkeep.purge() > 0
    assert store.list() == []
    for folder in (layout.blobs / "sha256", layout.bundles, layout.ingest, layout.linked):
        assert list(folder.iterdir()) == []
    assert store.upkeep.usage().models_bytes < 1000
    add("z")
    assert tags(Store(store.path)) == ["docker.io/ai/z:latest"]


def test_nothing_is_purged_while_a_model_is_added(
    store: Store, add: AddModel, layout: Layout
) -> None:
    model = add("x")
    with claimed(layout), pytest.raises(RunnerError) as caught:
        store.upkeep.purge()
    assert caught.value.kind is Kind.BUSY
    assert f"process {os.getpid()} is adding a model" in caught.value.message
    assert store.list() == [model]
