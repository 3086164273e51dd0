"""Ollama's routes over the real server, with scripted models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from runner.api import Policy, parse_keys
from runner.errors import Kind, RunnerError
from runner.oci import Digest, ModelConfig
from runner.service import LayerProgress, Note, PackageRequest, Planned
from runner.wire.messages import ChatPrompt
from tests.support.fake_engine import stored
from tests.support.fake_service import JSON_FIELD, Answer, Site, lines, render_request, run

LAYER = Digest.of(b"a")
MIB = 1024 * 1024


def asking(content: str, **members: Any) -> dict[str, Any]:
    return {"model": "a", "messages": [{"role": "user", "content": content}], **members}


def delete(site: Site, body: dict[str, Any]) -> Awaitable[Answer]:
    return site.send("DELETE", "/api/delete", JSON_FIELD, body=json.dumps(body).encode())


# ---- text ------------------------------------------------------------------------------------


def test_a_chat_is_lines_of_json() -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/api/chat", asking("say Hello world", options={"num_gpu": 1}))
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["x-ignored-fields"] == "options.num_gpu"
        first, second, last = lines(answer)
        assert first["message"] == {"role": "assistant", "content": "Hello"}
        assert second["message"] == {"role": "assistant", "content": " world"}
        assert [line["done"] for line in (first, second, last)] == [False, False, True]
        assert last["done_reason"] == "stop"
        assert (last["prompt_eval_count"], last["eval_count"]) == (7, 2)
        assert last["total_duration"] >= last["load_duration"] > 0

    run(test)


def test_the_curl_lines_of_ollamas_documentation_run_as_they_are() -> None:
    async def test(site: Site) -> None:
        form = "Content-Type: application/x-www-form-urlencoded"  # as curl -d has it
        body = json.dumps(asking("say Hello world", stream=False)).encode()
        answer = await site.send("POST", "/api/chat", "User-Agent: curl/8.5.0", form, body=body)
        assert answer.json["message"] == {"role": "assistant", "content": "Hello world"}
        page = "Origin: http://localhost:3000"
        refused = await site.send("POST", "/api/chat", page, form, body=body)
        assert (refused.status, [*refused.json]) == (415, ["error"])

    run(test)


def test_a_whole_chat() -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/api/chat", asking("say Hello world", stream=False))
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["message"] == {"role": "assistant", "content": "Hello world"}
        assert answer.json["done"] is True

    run(test)


def test_a_prompt_is_answered() -> None:
    async def test(site: Site) -> None:
        body = {"model": "a", "prompt": "say Hello", "system": "Be brief."}
        *parts, last = lines(await site.post("/api/generate", body))
        assert "".join(part["response"] for part in parts) == "Hello"
        assert last["response"] == ""
        (submit,) = site.engine.submitted
        assert isinstance(submit.prompt, ChatPrompt)
        assert json.loads(submit.prompt.messages_json)[0]["content"] == "Be brief."

    run(test)


def test_an_error_before_the_first_line_has_its_status() -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/api/chat", asking("fail context_length_exceeded"))
        assert answer.status == 400
        assert answer.json == {"error": "it failed (do this)"}

    run(test)


def test_an_error_later_is_the_last_line() -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/api/chat", asking("die engine_crashed"))
        assert answer.status == 200
        assert lines(answer)[-1] == {"error": "it died"}

    run(test)


def test_a_model_that_takes_long_to_load_fails_in_a_line() -> None:
    async def test(site: Site) -> None:
        site.spawn.loading = asyncio.Event()
        site.spawn.error = RunnerError(Kind.LOAD_FAILED, "it does not load")
        async with site.connect() as (reader, writer):
            body = json.dumps(asking("say Hi")).encode()
            writer.write(render_request("POST", "/api/chat", JSON_FIELD, body=body))
            assert b" 200 " in await reader.readuntil(b"\r\n")
            site.spawn.loading.set()
            assert b'{"error": "it does not load"}\n' in await reader.read()

    run(test, patience_s=0.01)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/nothing", 404), ("GET", "/api/chat", 405), ("POST", "/api/show", 404)],
)
def test_every_error_under_the_path_has_ollamas_form(method: str, path: str, status: int) -> None:
    async def test(site: Site) -> None:
        answer = await site.send(method, path, JSON_FIELD, body=b'{"model": "missing"}')
        assert answer.status == status
        assert answer.json.keys() == {"error"}

    run(test)


def test_a_wish_for_more_context_is_ignored_and_told() -> None:
    async def test(site: Site) -> None:
        # aider asks for 8192 tokens more than its prompt has, whatever model it is.
        answer = await site.post("/api/chat", asking("say Hi", options={"num_ctx": 65}))
        assert answer.status == 200
        assert answer.headers["x-ignored-fields"] == "options.num_ctx"

    run(test)


def test_a_chat_model_makes_no_vectors() -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/api/embed", {"model": "a", "input": "x"})
        assert answer.status == 400
        assert "generates text" in answer.json["error"]

    run(test)


# ---- memory ----------------------------------------------------------------------------------


def test_nothing_said_loads_and_unloads() -> None:
    async def test(site: Site) -> None:
        loaded = await site.post("/api/generate", {"model": "a", "keep_alive": "10m"})
        assert (loaded.json["response"], loaded.json["done_reason"]) == ("", "load")
        (running,) = site.engines.running()
        assert running.keep_alive_s == 600
        unloaded = await site.post("/api/chat", {"model": "a", "messages": [], "keep_alive": 0})
        assert unloaded.json["message"] == {"role": "assistant", "content": ""}
        assert unloaded.json["done_reason"] == "unload"
        assert site.engines.running() == []

    run(test)


def test_unloading_a_model_that_is_not_loaded_loads_nothing() -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/api/generate", {"model": "a", "keep_alive": 0})
        assert answer.status == 200
        assert site.spawn.engines == []
        answer = await site.post("/api/generate", {"model": "missing", "keep_alive": 0})
        assert answer.status == 404

    run(test)


def test_a_request_says_how_long_its_model_is_kept() -> None:
    async def test(site: Site) -> None:
        for stream in (True, False):
            await site.post("/api/chat", asking("say Hi", stream=stream, keep_alive=7))
            (running,) = site.engines.running()
            assert running.keep_alive_s == 7
            await site.post("/api/chat", asking("say Hi", stream=stream, keep_alive=-1))

    run(test)


def test_who_is_in_memory() -> None:
    async def test(site: Site) -> None:
        assert (await site.send("GET", "/api/ps")).json == {"models": []}
        await site.post("/api/chat", asking("say Hi", keep_alive=-1))
        (row,) = (await site.send("GET", "/api/ps")).json["models"]
        assert (row["name"], row["model"]) == ("a:latest", "a:latest")
        assert row["digest"] == Digest.of(b"a").hex
        assert row["details"]["family"] == "a"
        assert row["context_length"] == 64
        assert row["size_vram"] == 0
        assert int(row["expires_at"][:4]) > 2300

    run(test)


# ---- the store -------------------------------------------------------------------------------


def test_the_stored_models() -> None:
    async def test(site: Site) -> None:
        models = (await site.send("GET", "/api/tags")).json["models"]
        assert [model["name"] for model in models] == ["a:latest", "b:latest"]
        assert models[0] == {
            "name": "a:latest",
            "model": "a:latest",
            "modified_at": "1970-01-01T00:00:00.000000000Z",
            "size": 1000,
            "digest": Digest.of(b"a").hex,
            "details": {
                "parent_model": "",
                "format": "",
                "family": "a",
                "families": ["a"],
                "parameter_size": "",
                "quantization_level": "",
            },
        }

    run(test)


def test_one_model() -> None:
    async def test(site: Site) -> None:
        config = ModelConfig(
            format="gguf",
            architecture="a",
            parameters="1M",
            quantization="Q8_0",
            context_size=2048,
            gguf={"general.name": "7", "a.context_length": "4096", "a.rope": "0.500000"},
        )
        site.catalogue.models["a"] = replace(stored("a"), config=config)
        shown = (await site.post("/api/show", {"name": "a"})).json
        assert shown["template"] == "the chat template of a"
        assert shown["license"] == "the license of a"
        assert shown["modelfile"] == "FROM a:latest\nPARAMETER num_ctx 2048\n"
        assert shown["parameters"].split() == ["num_ctx", "2048"]
        assert shown["details"]["format"] == "gguf"
        assert shown["model_info"] == {
            "general.name": "7",
            "a.context_length": 4096,
            "a.rope": 0.5,
        }
        assert shown["capabilities"] == ["completion"]

    run(test)


def test_a_model_gets_another_name() -> None:
    async def test(site: Site) -> None:
        body = {"source": "a", "destination": "acme/mine"}
        answer = await site.post("/api/copy", body)
        assert (answer.status, answer.body) == (200, b"")
        names = [model["name"] for model in (await site.send("GET", "/api/tags")).json["models"]]
        assert names == ["a:latest", "acme/mine:latest", "b:latest"]
        missing = await site.post("/api/copy", {"source": "a"})
        assert missing.json["error"] == "destination is required"

    run(test)


def test_a_model_is_deleted_unless_it_is_busy() -> None:
    async def test(site: Site) -> None:
        async with await site.engines.lease("a"):
            assert (await delete(site, {"model": "a"})).status == 409
        answer = await delete(site, {"model": "a"})
        assert (answer.status, answer.body) == (200, b"")
        assert site.engines.running() == []
        assert (await delete(site, {"name": "missing"})).status == 404

    run(test)


def test_the_version_is_one_that_clients_take() -> None:
    async def test(site: Site) -> None:
        version = (await site.send("GET", "/api/version")).json["version"]
        assert [int(part) for part in version.split(".")] >= [0, 13, 0]

    run(test)


# ---- transfers -------------------------------------------------------------------------------


def test_a_pull_tells_its_layers() -> None:
    async def test(site: Site) -> None:
        site.client.scripts["smollm2"] = [
            Note("looking"),
            Planned((LayerProgress(LAYER, MIB, 0),)),
            LayerProgress(LAYER, MIB, MIB),
        ]
        answer = await site.post("/api/pull", {"model": "smollm2", "insecure": False})
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["x-ignored-fields"] == "insecure"
        told = lines(answer)
        assert told[0] == {"status": "pulling manifest"}
        assert told[-1] == {"status": "success"}
        assert told[-2] == {
            "status": f"pulling {LAYER.hex[:12]}",
            "digest": str(LAYER),
            "total": MIB,
            "completed": MIB,
        }
        assert site.client.asked == [("pull", "smollm2", None)]

    run(test)


def test_a_pull_without_progress() -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/api/pull", {"name": "x", "stream": False})
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == {"status": "success"}

    run(test)


def test_a_pull_that_fails() -> None:
    async def test(site: Site) -> None:
        error = RunnerError(Kind.MODEL_NOT_FOUND, "there is no x")
        site.client.scripts["x"] = [error]
        answer = await site.post("/api/pull", {"model": "x"})
        assert (answer.status, answer.json) == (404, {"error": "there is no x"})
        site.client.scripts["x"] = [Note("looking"), error]
        site.client.go_on.clear()
        async with site.connect() as (reader, writer):
            body = b'{"model": "x"}'
            writer.write(render_request("POST", "/api/pull", JSON_FIELD, body=body))
            await reader.readuntil(b"looking")
            site.client.go_on.set()
            rest = await reader.read()
        assert b'{"error": "there is no x"}\n' in rest

    run(test)


def test_a_push_is_told_likewise() -> None:
    async def test(site: Site) -> None:
        site.client.scripts["acme/x"] = [LayerProgress(LAYER, MIB, 5)]
        told = lines(await site.post("/api/push", {"model": "acme/x"}))
        assert [line["status"] for line in told] == [
            "retrieving manifest",
            f"pushing {LAYER.hex[:12]}",
            "success",
        ]

    run(test)


# ---- making models ---------------------------------------------------------------------------


def test_a_model_is_made_of_another() -> None:
    async def test(site: Site) -> None:
        told = lines(await site.post("/api/create", {"model": "mine", "from": "a"}))
        assert [line["status"] for line in told] == ["gathering model components", "success"]
        names = [model["name"] for model in (await site.send("GET", "/api/tags")).json["models"]]
        assert names == ["a:latest", "mine:latest", "b:latest"]
        assert site.client.asked == []
        body = {"model": "long", "from": "a", "parameters": {"num_ctx": 4096}, "stream": False}
        assert (await site.post("/api/create", body)).json == {"status": "success"}
        wanted = PackageRequest(from_model="a", context_size=4096)
        assert site.client.asked == [("package", wanted, "long")]

    run(test)


def test_a_model_is_made_of_files_that_were_sent() -> None:
    async def test(site: Site) -> None:
        digest = Digest.of(b"bytes")
        path = f"/api/blobs/{digest}"
        assert (await site.send("HEAD", path)).status == 404
        assert (await site.send("POST", path, JSON_FIELD, body=b"other")).status == 400
        assert (await site.send("POST", path, JSON_FIELD, body=b"bytes")).status == 201
        assert (await site.send("HEAD", path)).status == 200
        body = {"model": "mine", "files": {"m.gguf": str(digest)}, "license": "MIT"}
        assert lines(await site.post("/api/create", body))[-1] == {"status": "success"}
        wanted = PackageRequest(uploads={"m.gguf": digest}, license_texts=("MIT",))
        assert site.client.asked == [("package", wanted, "mine")]

    run(test)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "a model is made of from or of files"),
        ({"from": "a", "files": {"x": str(LAYER)}}, "a model is made of from or of files"),
        ({"files": {"x": "sha256:1"}}, "files.x: expected sha256:"),
        ({"files": []}, "files: expected an object"),
        ({"from": "a", "system": "Be brief."}, "system is not kept with a model"),
        ({"from": "a", "template": "{{ .Prompt }}"}, "template is not kept"),
        ({"from": "a", "parameters": {"temperature": 1}}, "parameters.temperature is not kept"),
        ({"from": "a", "parameters": {"num_ctx": "x"}}, "parameters.num_ctx: expected"),
        ({"modelfile": "FROM a"}, "modelfile is of older releases"),
        ({"from": "a", "license": 5}, "license: expected an array"),
    ],
)
def test_what_cannot_be_made_is_named(body: dict[str, Any], words: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/api/create", {"model": "mine", **body})
        assert answer.status == 400
        assert words in answer.json["error"]

    run(test)


def test_a_path_that_is_no_digest_is_refused() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("POST", "/api/blobs/../x", JSON_FIELD, body=b"x")
        assert answer.status == 400
        answer = await site.send("POST", "/api/blobs/sha256:zz", JSON_FIELD, body=b"x")
        assert answer.status == 400

    run(test)


def test_a_key_for_answers_changes_nothing() -> None:
    async def test(site: Site) -> None:
        key = "Authorization: Bearer k"
        assert (await site.post("/api/chat", asking("say Hi"), key)).status == 200
        assert (await site.post("/api/pull", {"model": "x"}, key)).status == 403
        refused = await site.post("/api/copy", {"source": "a", "destination": "b"}, key)
        assert refused.status == 403
        assert refused.json.keys() == {"error"}

    run(test, policy=Policy(keys=parse_keys(["k:infer"])))
