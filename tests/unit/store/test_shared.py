from __future__ import annotations

import logging
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.store import Store
from runner.store.prune import PruneWish
from runner.transfer.package import PackageRequest, package
from tests.support.gguf_maker import tiny_model
from tests.support.models import add_gguf

X, Y = "docker.io/ai/x:latest", "docker.io/ai/y:latest"


def fill(store: Store, folder: Path, **models: bytes) -> None:
    """Add a model for each name."""
    folder.mkdir(exist_ok=True)
    for name, filling in models.items():
        path = folder / f"{name}.gguf"
        path.write_bytes(tiny_model(filling))
        add_gguf(store, [path], Reference.parse(name))
        path.unlink()


def state(root: Path) -> dict[Path, tuple[int, ...]]:
    """All that a write would change."""
    facts = {path: path.lstat() for path in root.rglob("*")}
    return {
        path: (each.st_ino, each.st_size, each.st_nlink, each.st_mtime_ns, each.st_ctime_ns)
        for path, each in facts.items()
    }


@pytest.fixture
def others(tmp_path: Path) -> Store:
    """A store of others with ``x`` and ``y``."""
    store = Store(tmp_path / "others")
    fill(store, tmp_path / "sources", x=b"\1", y=b"\2")
    return store


@pytest.fixture
def ours(tmp_path: Path, others: Store) -> Store:
    return Store(tmp_path / "ours", shared=[others.path])


def test_models_of_a_shared_store_are_listed_as_such(
    ours: Store, others: Store, tmp_path: Path
) -> None:
    fill(ours, tmp_path / "mine", y=b"\3")
    listed = [(model.tags, model.shared_from) for model in ours.list()]
    # Ours come first, and their names count.
    assert listed == [((Y,), None), ((X,), others.path), ((), others.path)]
    assert ours.resolve("y").shared_from is None
    assert ours.resolve("x").shared_from == others.path
    assert ours.resolve(others.resolve("y").id.short).tags == (Y,)


def test_a_model_that_both_have_is_ours(ours: Store, others: Store, tmp_path: Path) -> None:
    fill(ours, tmp_path / "mine", x=b"\1")
    assert [model.shared_from for model in ours.list()] == [None, others.path]


def test_a_full_name_there_counts_for_more_than_a_part_of_a_name_here(
    ours: Store, others: Store, tmp_path: Path
) -> None:
    path = tmp_path / "z.gguf"
    path.write_bytes(tiny_model(b"\5"))
    add_gguf(ours, [path], Reference.parse("example.com/org/x:v1"))
    assert ours.resolve("x").id == others.resolve("x").id
    assert ours.resolve("x:v1").shared_from is None


def test_a_shared_model_is_used_and_nothing_is_written_there(ours: Store, others: Store) -> None:
    before = state(others.path)
    model = ours.resolve("x")
    bundle = ours.bundle(model)
    assert bundle.gguf_path.is_relative_to(ours.path)
    assert bundle.gguf_path.read_bytes() == tiny_model(b"\1")
    assert ours.bundle(model) == bundle
    with ours.open_blob(model.manifest.layers[0]) as read:
        assert b"".join(read(0, 4)) == b"GGUF"
    ours.upkeep.prune(PruneWish(unused_before_s=float("inf")))
    ours.upkeep.sweep(grace_s=-1.0)
    ours.upkeep.purge()
    assert state(others.path) == before
    assert ours.bundle(model).gguf_path.read_bytes() == tiny_model(b"\1")


def test_a_changed_file_is_hashed_again_and_not_noted_there(tmp_path: Path, others: Store) -> None:
    path = tmp_path / "linked.gguf"
    path.write_bytes(tiny_model(b"\7"))
    add_gguf(others, [path], Reference.parse("linked"))
    path.touch()
    ours = Store(tmp_path / "ours", shared=[others.path])
    before = state(others.path)
    ours.bundle(ours.resolve("linked"))
    assert state(others.path) == before


@pytest.mark.parametrize("change", ["remove", "tag"])
def test_what_others_have_is_not_changed(ours: Store, others: Store, change: str) -> None:
    with pytest.raises(RunnerError) as caught:
        if change == "remove":
            ours.remove("x")
        else:
            ours.tag(ours.resolve("x"), Reference.parse("z"))
    assert caught.value.kind is Kind.CONFLICT
    assert f"is in the shared store {others.path}, which is only read" in caught.value.message


def test_a_shared_model_under_another_name_is_our_own(ours: Store, others: Store) -> None:
    wanted = PackageRequest(from_model="x", context_size=64)
    model = package(ours, wanted, Reference.parse("z"))
    assert ours.resolve("z").shared_from is None
    (others.path / "oci-layout").unlink()  # away
    assert ours.bundle(model).gguf_path.read_bytes() == tiny_model(b"\1")


def test_what_nobody_has_is_not_found(ours: Store) -> None:
    for use in (ours.resolve, ours.remove):
        with pytest.raises(RunnerError) as caught:
            use("z")
        assert caught.value.kind is Kind.MODEL_NOT_FOUND


def test_a_shared_store_that_is_away_is_told_once_and_found_again(
    tmp_path: Path, others: Store, caplog: pytest.LogCaptureFixture
) -> None:
    away = others.path.with_name("away")
    others.path.rename(away)
    ours = Store(tmp_path / "ours", shared=[others.path])
    with caplog.at_level(logging.WARNING):
        assert ours.list() == []
        assert ours.list() == []
    assert [record.message for record in caplog.records] == [
        f"the shared store at {others.path} is passed over: there is no model store at "
        f"{others.path} (check the path, and that its disk is mounted)"
    ]
    away.rename(others.path)
    assert len(ours.list()) == 2
    others.path.rename(away)  # unmounted while serving
    assert ours.list() == []
    with pytest.raises(RunnerError) as caught:
        ours.resolve("x")
    assert caught.value.kind is Kind.MODEL_NOT_FOUND
    away.rename(others.path)
    assert ours.resolve("x").tags == (X,)


def test_a_damaged_shared_model_is_passed_over(ours: Store, others: Store) -> None:
    model = others.resolve("x")
    (others.path / "blobs/sha256" / model.manifest.layers[0].digest.hex).unlink()
    assert [model.tags for model in ours.list()] == [(Y,)]
    with pytest.raises(RunnerError) as caught:
        ours.resolve("x")
    assert caught.value.kind is Kind.MODEL_NOT_FOUND


def test_a_check_restores_from_a_shared_store(ours: Store, others: Store, tmp_path: Path) -> None:
    fill(ours, tmp_path / "mine", x=b"\1")
    model = ours.resolve("x")
    (ours.path / "blobs/sha256" / model.manifest.layers[0].digest.hex).unlink()
    [damage] = ours.upkeep.check(repair=True).damages
    assert damage.remedy == "restored"
    assert ours.bundle(ours.resolve("x")).gguf_path.read_bytes() == tiny_model(b"\1")
