"""The routes of the store's chores, over a real store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Reference
from runner.service import Upkeep
from runner.store import Store, find_store
from runner.store.claims import claimed
from runner.store.layout import Layout
from tests.support.fake_service import Site, chat_body, lines, render_request, run, serving
from tests.support.foreign_stores import make_ollama_store
from tests.support.gguf_maker import tiny_model
from tests.support.models import add_gguf


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two models: ``x`` of our own, and one that lost its name to it."""
    store = Store(tmp_path / "models")
    for filling in (b"\1", b"\2"):
        path = tmp_path / "tiny.gguf"
        path.unlink(missing_ok=True)
        path.write_bytes(tiny_model(filling))
        add_gguf(store, [path], Reference.parse("x"))
    path.unlink()
    return store


def test_disk_usage_adds_up(store: Store) -> None:
    async def test(site: Site) -> None:
        usage = (await site.send("GET", "/engines/df")).json
        parts = usage["models"] + usage["unfinished"] + usage["unneeded"]
        assert usage["models_disk_usage"] == parts > 0

    run(test, upkeep=Upkeep(store))


def test_pruning_first_dry_then_really(store: Store) -> None:
    async def test(site: Site) -> None:
        [old] = [model for model in store.list() if not model.tags]
        promised = await site.post("/models/prune", {"untagged": True, "dry_run": True})
        assert promised.json["models"] == [{"id": str(old.id), "tags": []}]
        assert promised.json["freed"] > 0
        assert len(store.list()) == 2
        assert (await site.post("/models/prune", {"untagged": True})).json == promised.json
        assert len(store.list()) == 1
        assert (await site.post("/models/prune", {"unused_since_s": -1})).status == 400
        assert (await site.post("/models/prune", {"unused_since_s": 3600})).json["models"] == []
        pruned = (await site.post("/models/prune", {"unused_since_s": 0})).json
        assert [model["tags"] for model in pruned["models"]] == [["docker.io/ai/x:latest"]]
        assert store.list() == []

    run(test, upkeep=Upkeep(store))


def test_checking_tells_what_is_damaged(store: Store) -> None:
    async def test(site: Site) -> None:
        [told] = lines(await site.post("/models/check", {}))
        assert (told["type"], told["blobs"], told["damages"]) == ("checked", 6, [])
        model = store.resolve("x")
        weights = model.manifest.layers[0].digest
        Layout(store.path).blob(weights).write_bytes(b"something else")
        for remedy in ("none", "released"):
            [told] = lines(await site.post("/models/check", {"repair": remedy == "released"}))
            [damage] = told["damages"]
            assert (damage["digest"], damage["remedy"]) == (str(weights), remedy)
            assert damage["models"] == ["docker.io/ai/x:latest"]

    run(test, upkeep=Upkeep(store))


def test_purging_empties_the_store_or_says_why_not(store: Store) -> None:
    async def test(site: Site) -> None:
        with claimed(Layout(store.path)):
            refused = await site.send("DELETE", "/models/purge")
            assert (refused.status, refused.error["code"]) == (503, "server_busy")
        assert len(store.list()) == 2
        answer = await site.send("DELETE", "/models/purge")
        assert (answer.status, answer.body) == (200, b"")
        assert store.list() == []

    run(test, upkeep=Upkeep(store))


def test_moving_tells_where_it_is_and_whether_that_is_remembered(
    store: Store, tmp_path: Path
) -> None:
    old, memory = store.path, tmp_path / "state" / "models-path.json"

    async def main() -> None:
        async with serving(upkeep=Upkeep(store, memory=memory)) as site, asyncio.timeout(20):
            for path in ("", "relative", "/tmp/../etc"):
                assert (await site.post("/models/move", {"path": path})).status == 400
            inside = await site.post("/models/move", {"path": str(old / "blobs")})
            assert (inside.status, inside.error["code"]) == (400, "usage")
            target = str(tmp_path / "new")
            [told] = lines(await site.post("/models/move", {"path": target}))
            assert told == {"type": "moved", "path": target, "remembered": True}
            assert (await site.send("GET", "/engines/df")).json["models"] > 0
            assert len(store.list()) == 2
            assert find_store(memory, default=old) == tmp_path / "new"

    asyncio.run(main())


def test_a_place_that_the_user_named_is_the_users_to_remember(store: Store, tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        [told] = lines(await site.post("/models/move", {"path": str(tmp_path / "new")}))
        assert told["remembered"] is False

    run(test, upkeep=Upkeep(store))


def test_importing_lists_and_then_takes_over(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "ollama"
    weights = tiny_model(b"\5")
    make_ollama_store(folder, {"registry.ollama.ai/library/y/1b": weights})
    request = {"from": "ollama", "path": str(folder)}

    async def test(site: Site) -> None:
        name = "registry.ollama.ai/library/y:1b"
        found = (await site.post("/models/import", request)).json
        assert [each["names"] for each in found] == [[name]]
        assert found[0]["size"] > len(weights)
        [told] = lines(await site.post("/models/import", request | {"name": "y"}))
        assert told == {"type": "imported", "id": str(store.resolve(name).id), "tags": [name]}
        for wrong, status in (
            ({"from": "lmstudio"}, 400),
            ({"path": "relative"}, 400),
            ({"path": str(tmp_path)}, 400),
            ({"name": "zz"}, 404),
        ):
            assert (await site.post("/models/import", request | wrong)).status == status

    run(test, upkeep=Upkeep(store))


def test_e3_a_store_unmounted_while_serving_is_told_and_what_is_loaded_answers(
    store: Store,
) -> None:

    async def test(site: Site) -> None:
        assert (await site.chat("say hello")).status == 200
        store.path.rename(store.path.with_name("unmounted"))
        store.path.mkdir()
        for answer in (
            await site.send("GET", "/engines/df"),
            await site.post("/models/prune", {}),
            await site.post("/models/check", {"repair": True}),
            await site.send("DELETE", "/models/purge"),
        ):
            assert (answer.status, answer.error["code"]) == (500, "store_error")
        assert list(store.path.iterdir()) == []
        assert (await site.chat("say hello")).status == 200

    run(test, upkeep=Upkeep(store))


def test_a_model_that_is_being_loaded_is_removed_by_force_alone() -> None:
    async def test(site: Site) -> None:
        site.spawn.loading = asyncio.Event()
        async with site.connect() as (_, writer):
            body = json.dumps(chat_body("say hello")).encode()
            fields = "Content-Type: application/json"
            writer.write(render_request("POST", "/v1/chat/completions", fields, body=body))
            while not any(model.phase == "loading" for model in site.engines.running()):
                await asyncio.sleep(0.01)
            refused = await site.send("DELETE", "/models/a")
            assert (refused.status, refused.error["code"]) == (409, "conflict")
            site.spawn.loading.set()

    async def main() -> None:
        async with serving() as site, asyncio.timeout(20):
            await test(site)

    asyncio.run(main())


def test_who_leaves_ends_a_check(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that hashes notices at its next report."""
    ended = asyncio.Event()

    async def check(self: Upkeep, *, repair: bool, on_progress: Callable[[int, int], None]) -> Any:
        try:
            while True:
                on_progress(1, 2)
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(Upkeep, "check", check)

    async def test(site: Site) -> None:
        async with site.connect() as (reader, writer):
            fields = "Content-Type: application/json"
            writer.write(render_request("POST", "/models/check", fields, body=b"{}"))
            assert b'{"type":"progress","done":1,"total":2}' in await reader.readuntil(b"}\n")
        await ended.wait()

    run(test, upkeep=Upkeep(store))


def test_a_chore_that_fails_on_the_way_ends_in_a_line(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def check(self: Upkeep, *, repair: bool, on_progress: Callable[[int, int], None]) -> Any:
        on_progress(1, 2)
        await go_on.wait()
        raise RunnerError(Kind.STORE, "the disk is gone")

    monkeypatch.setattr(Upkeep, "check", check)

    async def test(site: Site) -> None:
        async with site.connect() as (reader, writer):
            fields = "Content-Type: application/json"
            writer.write(render_request("POST", "/models/check", fields, body=b"{}"))
            head = await reader.readuntil(b'"total":2}')
            assert head.startswith(b"HTTP/1.1 200")
            go_on.set()
            rest = await reader.read()
            assert b'"message": "the disk is gone"' in rest
            assert b'"code": "store_error"' in rest

    run(test, upkeep=Upkeep(store))


def test_a_check_that_is_left_ends_at_its_next_report(store: Store) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()

        def on_progress(done: int, total: int) -> None:
            loop.call_soon(begun.set)

        checking = asyncio.create_task(Upkeep(store).check(repair=False, on_progress=on_progress))
        await begun.wait()
        checking.cancel()
        with pytest.raises((asyncio.CancelledError, RunnerError)):
            await checking

    asyncio.run(main())
