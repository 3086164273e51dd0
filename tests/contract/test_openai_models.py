"""OpenAI's model routes, and what every route has in common: gate, routing, errors."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from runner.api import Policy, parse_keys
from runner.errors import Kind, RunnerError
from runner.oci import Digest, ModelConfig
from tests.support.fake_engine import stored
from tests.support.fake_service import JSON_FIELD, Site, run

KEYED = Policy(keys=parse_keys(["boss", "guest:infer"]))


# ---- models ----------------------------------------------------------------------------------


def full_model() -> Any:
    config = ModelConfig(
        format="gguf",
        quantization="Q4_1",
        parameters="134.52M",
        architecture="llama",
        size="93.37MiB",
        gguf={"general.architecture": "llama", "llama.context_length": "2048"},
    )
    base = stored("a", size_bytes=97_900_000)
    return type(base)(
        id=base.id,
        tags=("docker.io/ai/a:latest", "docker.io/ai/a:q4"),
        created_s=1767225600,
        config=config,
        manifest=base.manifest,
        size_bytes=base.size_bytes,
    )


def test_the_list_tells_each_model_once_with_dockers_member() -> None:
    async def test(site: Site) -> None:
        site.catalogue.models["a"] = full_model()
        answer = await site.send("GET", "/engines/v1/models")
        assert answer.status == 200
        assert [model["id"] for model in answer.json["data"]] == [
            "docker.io/ai/a:latest",
            "docker.io/ai/b:latest",
        ]
        assert answer.json["data"][0] == {
            "id": "docker.io/ai/a:latest",
            "object": "model",
            "created": 1767225600,
            "owned_by": "docker",
            "dmr": {
                "context_window": 2048,
                "architecture": "llama",
                "parameters": "134.52M",
                "quantization": "Q4_1",
                "size": "93.37MiB",
            },
            "meta": {"n_ctx_train": 2048, "size": 97_900_000},
        }

    run(test)


def test_a_loaded_model_tells_its_context() -> None:
    async def test(site: Site) -> None:
        await site.chat("say x")
        answer = await site.send("GET", "/v1/models/ai/a")
        assert answer.json["meta"]["n_ctx"] == 64

    run(test)


@pytest.mark.parametrize("name", ["a", "ai/a", "ai%2Fa", "docker.io/ai/a:latest", "{id}"])
def test_a_model_is_found_by_any_of_its_names(name: str) -> None:
    async def test(site: Site) -> None:
        path = f"/v1/models/{name.format(id=Digest.of(b'a'))}"
        answer = await site.send("GET", path)
        assert (answer.status, answer.json["id"]) == (200, "docker.io/ai/a:latest")

    run(test)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("zz", 404, "model_not_found"),
        ("..%2f..%2fetc", 400, "invalid_reference"),
        ("a%00b", 400, "invalid_request"),
        ("x" * 600, 400, "invalid_reference"),
        ("м", 400, "invalid_request"),
        ("%D0%BC", 400, "invalid_reference"),
    ],
)
def test_what_is_no_model_is_told(name: str, status: int, code: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.send("GET", f"/v1/models/{name}")
        assert (answer.status, answer.error["code"]) == (status, code)

    run(test)


def test_the_sdk_lists_and_retrieves() -> None:
    async def test(site: Site) -> None:
        url = f"http://127.0.0.1:{site.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            listed = [model.id async for model in client.models.list()]
            assert listed == ["docker.io/ai/a:latest", "docker.io/ai/b:latest"]
            # The SDK sends the slash of a name as %2F.
            assert (await client.models.retrieve("ai/b")).id == "docker.io/ai/b:latest"
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("zz")

    run(test)


# ---- gate and routing over the wire ----------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        (["Host: evil.example"], 403, "host_not_allowed"),
        (["Host: 0.0.0.0:12434"], 403, "host_not_allowed"),
        (["Origin: https://evil.example"], 403, "origin_not_allowed"),
        (["Origin: null"], 403, "origin_not_allowed"),
        (["Host: user@localhost"], 400, "invalid_request"),
        (["Host: a/b"], 400, "invalid_request"),
        (["Authorization: Bearer a", "Authorization: Bearer b"], 400, "invalid_request"),
    ],
)
def test_the_gate_stands_before_routing(fields: list[str], status: int, code: str) -> None:
    async def test(site: Site) -> None:
        for path in ("/v1/models", "/", "/no/such/path"):
            answer = await site.send("GET", path, *fields)
            assert (answer.status, answer.error["code"]) == (status, code)

    run(test)


def test_a_form_is_refused_before_it_is_read() -> None:
    async def test(site: Site) -> None:
        body = b'{"model": "a", "messages": []}'
        for field in (
            "Content-Type: text/plain",
            "Content-Type: application/x-www-form-urlencoded",
        ):
            answer = await site.send("POST", "/v1/chat/completions", field, body=body)
            assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")

    run(test)


def test_a_program_that_names_no_type_is_answered_and_a_page_is_not() -> None:
    async def test(site: Site) -> None:
        body = b'{"model": "a", "messages": [{"role": "user", "content": "Hi"}]}'
        assert (await site.send("POST", "/v1/chat/completions", body=body)).status == 200
        # new Blob([text]) of a page has no type, and fetch then sends none.
        for field in ("Origin: http://localhost:3000", "Sec-Fetch-Site: same-site", "Cookie: a=b"):
            answer = await site.send("POST", "/v1/chat/completions", field, body=body)
            assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")

    run(test)


def test_a_page_of_this_machine_may_read_answers_and_errors() -> None:
    async def test(site: Site) -> None:
        origin = "http://localhost:3000"
        for path, status in (("/v1/models", 200), ("/v1/models/zz", 404)):
            answer = await site.send("GET", path, f"Origin: {origin}")
            assert answer.status == status
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["vary"] == "Origin"

    run(test)


def test_a_refused_key_can_be_read_by_an_allowed_page() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("GET", "/v1/models", "Origin: http://localhost:1")
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["access-control-allow-origin"] == "http://localhost:1"

    run(test, policy=KEYED)


def test_a_preflight_needs_no_key() -> None:
    async def test(site: Site) -> None:
        fields = ["Origin: http://localhost:1", "Access-Control-Request-Method: POST"]
        answer = await site.send("OPTIONS", "/v1/chat/completions", *fields)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST, DELETE, OPTIONS"
        evil = await site.send("OPTIONS", "/v1/chat/completions", "Origin: https://evil.example")
        assert evil.status == 403

    run(test, policy=KEYED)


def test_options_without_a_page_tell_the_methods() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("OPTIONS", "/v1/models")
        assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
        assert (await site.send("OPTIONS", "*")).status == 204
        assert (await site.send("OPTIONS", "/no/such")).status == 404

    run(test)


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        ("boss", "/v1/models", 200),
        ("guest", "/v1/models", 200),
        ("guest", "/logs", 403),
        ("thief", "/v1/models", 401),
        ("thief", "/no/such/path", 401),
        ("thief", "/health", 200),
    ],
)
def test_scopes(key: str, path: str, status: int) -> None:
    async def test(site: Site) -> None:
        for field in (f"Authorization: Bearer {key}", f"X-Api-Key: {key}"):
            assert (await site.send("GET", path, field)).status == status

    run(test, policy=KEYED)


def test_a_wrong_path_or_method_is_told() -> None:
    async def test(site: Site) -> None:
        missing = await site.send("GET", "/v1/model")
        assert (missing.status, missing.error["code"]) == (404, "not_found")
        assert "GET /v1/models" in missing.error["message"]
        wrong = await site.send("DELETE", "/v1/models")
        assert (wrong.status, wrong.error["code"]) == (405, "method_not_allowed")
        assert wrong.headers["allow"] == "GET, HEAD, OPTIONS"
        assert (await site.send("GET", "//v1/models")).status == 404

    run(test)


def test_a_head_has_no_body() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("HEAD", "/v1/models")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 100

    run(test)


# ---- bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "offset"),
    [(b"x", 0), (b"[]", 0), (b'{"a": 1} y', 9), (b'{"a": "\xff"}', 7)],
)
def test_a_body_that_is_no_object_is_a_400_with_its_offset(body: bytes, offset: int) -> None:
    async def test(site: Site) -> None:
        answer = await site.send("POST", "/v1/chat/completions", JSON_FIELD, body=body)
        assert (answer.status, answer.error["offset"]) == (400, offset)
        assert answer.error["type"] == "invalid_request_error"

    run(test)


def test_an_empty_body_is_a_400() -> None:
    async def test(site: Site) -> None:
        answer = await site.send("POST", "/v1/chat/completions", JSON_FIELD)
        assert (answer.status, answer.error["offset"]) == (400, 0)

    run(test)


def test_a_body_over_the_limit_is_a_413_that_names_it() -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/v1/chat/completions", {"a": "x" * 2000})
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert answer.error["limit_bytes"] == 1000

    run(test, max_body_bytes=1000)


def test_a_large_body_is_parsed_beside_the_loop() -> None:
    async def test(site: Site) -> None:
        answer = await site.chat("say " + "w" * 400_000)
        assert answer.json["choices"][0]["message"]["content"] == "w" * 400_000
        wrong = await site.chat("say x", stop=["w" * 400_000])
        assert (wrong.status, wrong.error["param"]) == (400, "stop[0]")

    run(test)


def test_a_store_that_fails_is_a_500() -> None:
    async def test(site: Site) -> None:
        site.catalogue.error = RunnerError(Kind.STORE, "the index is broken")
        answer = await site.send("GET", "/v1/models")
        assert (answer.status, answer.error["code"]) == (500, "store_error")

    run(test)
