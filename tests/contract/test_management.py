"""Docker Model Runner's management routes and the server's own (dmr-contract.md 1.4, 1.5)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.wire.messages import Measured, Rates, Tuned, TunedSettings
from tests.support.fake_service import (
    JSON_FIELD,
    ScriptedEngine,
    Site,
    chat_body,
    render_request,
    run,
)

A = str(Digest.of(b"a"))


# ---- the store -------------------------------------------------------------------------------


def test_dockers_list_and_inspect() -> None:
    async def test(site: Site) -> None:
        shown = {
            "id": A,
            "tags": ["docker.io/ai/a:latest"],
            "created": 0,
            "config": {"architecture": "a"},
        }
        assert (await site.send("GET", "/models")).json[0] == shown
        assert (await site.send("GET", "/models/ai/a")).json == shown | {"files": []}
        assert (await site.send("GET", "/models/zz")).status == 404

    run(test)


def test_an_empty_store_is_an_empty_list() -> None:
    async def test(site: Site) -> None:
        assert (await site.send("GET", "/models")).body == b"[]"

    run(test, names=())


def test_tagging() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("POST", "/models/ai/a/tag?repo=me%2Fmine&tag=v1")
        assert (answer.status, answer.json) == (
            201,
            {
                "message": 'Model tagged successfully with "me/mine:v1"',
                "target": "me/mine:v1",
            },
        )
        assert (await site.send("POST", "/models/ai/a/tag?repo=x")).status == 400
        assert (await site.send("POST", "/models/zz/tag?repo=x&tag=y")).status == 404

    run(test)


def test_another_action_is_unknown() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("POST", "/models/ai/a/frobnicate")
        assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert answer.error["message"].startswith('unknown action "frobnicate"')

    run(test)


def test_removing() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("DELETE", "/models/a")
        assert (answer.status, answer.json) == (
            200,
            [{"Untagged": "docker.io/ai/a:latest"}, {"Deleted": A}],
        )
        assert (await site.send("DELETE", "/models/zz?force=true")).status == 404
        assert (await site.send("DELETE", "/models/a?force=maybe")).status == 400

    run(test)


def test_a_model_called_purge_is_removed_alone() -> None:
    async def missing(site: Site) -> None:
        assert (await site.send("DELETE", "/models/purge?force=false")).status == 404

    async def test(site: Site) -> None:
        answer = await site.send("DELETE", "/models/purge?force=false")
        assert answer.json == [
            {"Untagged": "docker.io/ai/purge:latest"},
            {"Deleted": str(Digest.of(b"purge"))},
        ]

    run(test, names=("a", "purge"))
    run(missing)  # where no model is called so, nothing is removed


def test_a_busy_model_is_removed_by_force_alone() -> None:
    async def test(site: Site) -> None:
        async with site.connect() as (reader, writer):
            body = json.dumps(chat_body("hang", stream=True)).encode()
            head = "Content-Type: application/json"
            writer.write(render_request("POST", "/v1/chat/completions", head, body=body))
            await reader.readuntil(b'"content":"first"')
            answer = await site.send("DELETE", "/models/a")
            assert (answer.status, answer.error["code"]) == (409, "conflict")
            assert (await site.send("DELETE", "/models/a?force=true")).status == 200

    run(test)


# ---- engines ---------------------------------------------------------------------------------


def test_ps_tells_dockers_members_and_ours() -> None:
    async def test(site: Site) -> None:
        assert (await site.send("GET", "/engines/ps")).body == b"[]"
        await site.chat("say x")
        [row] = (await site.send("GET", "/engines/ps")).json
        assert {name: row[name] for name in ("backend_name", "model_name", "mode")} == {
            "backend_name": "llama.cpp",
            "model_name": "a",
            "mode": "completion",
        }
        assert (row["keep_alive"], row["pid"], row["id"]) == ("5m0s", 1000, A)
        assert "in_use" not in row
        assert "loading" not in row
        assert row["last_used"] < row["expires_at"]
        assert row["last_used"].endswith("Z")
        assert row["settings"]["context_size"] == 64
        assert row["model"]["vocabulary"] == 8
        assert row["tokens_per_second"] == 2000.0

    run(test)


def test_status_and_disk_usage() -> None:
    async def test(site: Site) -> None:
        status = await site.send("GET", "/engines/status")
        assert status.json == {"llama.cpp": "Running: llama.cpp test"}
        usage = await site.send("GET", "/engines/df")
        assert usage.json == {
            "models_disk_usage": 4096,
            "default_backend_disk_usage": 77,
            "models": 4000,
            "shared": 0,
            "linked": 0,
            "unfinished": 90,
            "unneeded": 6,
        }

    run(test)


def test_unloading() -> None:
    async def test(site: Site) -> None:
        await site.chat("say x")
        nothing = await site.post("/engines/unload", {"models": ["b"]})
        assert nothing.json == {"unloaded_runners": 0}
        named = await site.post("/engines/unload", {"all": False, "backend": "", "models": ["a"]})
        assert named.json == {"unloaded_runners": 1}
        await site.chat("say x")
        assert (await site.post("/engines/unload", {"all": True})).json == {"unloaded_runners": 1}
        for wrong in (
            {},
            {"models": []},
            {"models": "a"},
            {"models": [1]},
            {"models": ["a"] * 1001},
        ):
            assert (await site.post("/engines/unload", wrong)).status == 400

    run(test)


def test_the_one_backend_is_installed_and_stays() -> None:
    async def test(site: Site) -> None:
        install, uninstall = "/engines/install-backend", "/engines/uninstall-backend"
        there = await site.post(install, {"backend": "llama.cpp", "version": "latest"})
        assert (there.status, there.body) == (200, b"")
        assert there.headers["x-ignored-fields"] == "version"
        for path in (install, uninstall):
            other = await site.post(path, {"backend": "vllm"})
            assert (other.status, other.error["param"]) == (404, "backend")
            assert (await site.post(path, {})).status == 400
        assert (await site.post(uninstall, {"backend": "llama.cpp"})).status == 409

    run(test)


# ---- the server itself -----------------------------------------------------------------------


def test_the_root_tells_how_to_begin() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("GET", "/", "Host: localhost:4444")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        text = answer.body.decode()
        assert text.startswith("runner 9.9 is running")
        assert "curl http://localhost:4444/v1/models" in text

    run(test)


def test_version_and_health() -> None:
    async def test(site: Site) -> None:
        assert (await site.send("GET", "/version")).json == {"version": "9.9"}
        for path in ("/health", "/livez", "/readyz"):
            answer = await site.send("GET", path)
            assert (answer.status, answer.json) == (200, {"status": "ok"})
        site.catalogue.error = RunnerError(Kind.STORE, "gone", hint="mount it")
        ready = await site.send("GET", "/readyz")
        assert (ready.status, ready.error["code"]) == (503, "unavailable")
        assert (await site.send("GET", "/livez")).status == 200

    run(test)


def test_logs(tmp_path: Path) -> None:
    log = tmp_path / "runner.log"
    log.write_text("one\n")

    async def test(site: Site) -> None:
        assert (await site.send("GET", "/logs")).body == b"one\n"
        async with site.connect() as (reader, writer):
            writer.write(render_request("GET", "/logs?follow=true"))
            await reader.readuntil(b"one\n")
            log.write_text("one\ntwo\n")
            await reader.readuntil(b"two\n")
            log.write_text("new\n")  # emptied
            await reader.readuntil(b"new\n")
            with log.open("a") as file:
                file.write("last of the old\n")
            log.rename(tmp_path / "runner.log.1")  # rotated, to a file that soon is longer
            log.write_text("first of the new, and more than the old one has\n")
            await reader.readuntil(b"last of the old\n")
            await reader.readuntil(b"first of the new, and more than the old one has\n")
        log.unlink()
        assert (await site.send("GET", "/logs")).status == 404

    run(test, log_path=log)


def test_logs_without_the_engines(tmp_path: Path) -> None:
    log = tmp_path / "runner.log"
    log.write_text("[t] info runner.net one\n[t] info runner.worker [7] loud\n[t] info runner.n")

    async def test(site: Site) -> None:
        answer = await site.send("GET", "/logs?no-engines=true")
        assert answer.body == b"[t] info runner.net one\n[t] info runner.n"
        assert (await site.send("GET", "/logs?no-engines=false")).body == log.read_bytes()
        assert (await site.send("GET", "/logs?no-engines=maybe")).status == 400
        async with site.connect() as (reader, writer):
            writer.write(render_request("GET", "/logs?follow=1&no-engines=1"))
            seen = await reader.readuntil(b"one\n")
            with log.open("a") as file:
                file.write("et two\n[t] info runner.worker [7] louder\n[t] info runner.x last\n")
            seen += await reader.readuntil(b"last\n")
            assert b"[t] info runner.net two\n[t] info runner.x last\n" in seen
            assert b"loud" not in seen

    run(test, log_path=log)


def test_a_followed_log_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    log = tmp_path / "runner.log"
    log.write_text("one\n")

    async def test(site: Site) -> None:
        async with site.connect() as (reader, writer):
            writer.write(render_request("GET", "/logs?follow=true"))
            await reader.readuntil(b"one\n")
            async with asyncio.timeout(20):
                await site.drain(3600.0)
            assert (await reader.read()).endswith(b"0\r\n\r\n")

    run(test, log_path=log)


def test_without_a_log_there_is_none() -> None:
    async def test(site: Site) -> None:
        assert (await site.send("GET", "/logs")).status == 404

    run(test)


# ---- tuning ----------------------------------------------------------------------------------

TUNED = TunedSettings(
    flash_attention=True, kv_layout="streams", ubatch_size=256, threads=2, threads_batch=4
)
MEASURED = Measured(
    settings=TUNED,
    rates=Rates(one=2.0, one_deep=1.0, many=4.0, prompt=8.0),
    rows=8,
    depth=600,
)


async def until_asked(site: Site) -> ScriptedEngine:
    """Wait until a request asks its engine to be measured."""
    while not (site.spawn.engines and site.engine.tuners):
        await asyncio.sleep(0.001)
    return site.engine


def test_tuning_loads_the_model_and_tells_line_by_line() -> None:
    async def test(site: Site) -> None:
        asked = asyncio.create_task(site.post("/engines/tune", {"model": "a"}))
        engine = await until_asked(site)
        engine.report(MEASURED)
        engine.report(Tuned(settings=TUNED, gain=1.5, duration_s=2.0))
        answer = await asked
        begun, measured, tuned = [json.loads(line) for line in answer.body.splitlines()]
        assert answer.headers["content-type"] == "application/json"
        assert (begun["type"], begun["settings"]["threads"]) == ("begun", 1)
        assert measured == {
            "type": "measured",
            "settings": {
                "flash_attention": True,
                "kv_layout": "streams",
                "ubatch_size": 256,
                "threads": 2,
                "threads_batch": 4,
            },
            "rates": {"one": 2.0, "one_deep": 1.0, "many": 4.0, "prompt": 8.0},
            "rows": 8,
            "depth": 600,
        }
        assert (tuned["type"], tuned["gain"], tuned["is_disturbed"]) == ("tuned", 1.5, False)

    run(test)


def test_tuning_without_a_result_tells_why() -> None:
    async def test(site: Site) -> None:
        asked = asyncio.create_task(site.post("/engines/tune", {"model": "a"}))
        (await until_asked(site)).report(Tuned(problem="no memory"))
        last = json.loads((await asked).body.splitlines()[-1])
        assert last == {"type": "error", "message": "no memory"}

    run(test)


def test_who_leaves_ends_the_search_and_gives_the_model_back() -> None:
    async def test(site: Site) -> None:
        async with site.connect() as (_, writer):
            body = json.dumps({"model": "a"}).encode()
            writer.write(render_request("POST", "/engines/tune", JSON_FIELD, body=body))
            engine = await until_asked(site)
        while engine.tuners or site.engines.running()[0].leases:
            await asyncio.sleep(0.001)

    run(test)


def test_what_cannot_be_tuned_is_refused() -> None:
    async def test(site: Site) -> None:
        assert (await site.post("/engines/tune", {"model": "zz"})).status == 404
        assert (await site.post("/engines/tune", {})).error["param"] == "model"
        assert (await site.send("GET", "/engines/tuned/zz")).status == 404
        assert (await site.send("GET", "/engines/tuned/a")).body == b"null"

    run(test)
