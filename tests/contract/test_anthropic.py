"""Anthropic's API over the real server: what raw sockets and Anthropic's SDK see."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from runner.api import Policy, parse_keys
from tests.support.fake_service import Answer, Site, run

PATH = "/anthropic/v1/messages"


def body(content: str, **members: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": content}]
    return {"model": "a", "max_tokens": 9, "messages": said, **members}


async def ask(site: Site, content: str, *fields: str, **members: Any) -> Answer:
    return await site.post(PATH, body(content, **members), *fields)


def sdk(site: Site, **options: Any) -> anthropic.AsyncAnthropic:
    url = f"http://127.0.0.1:{site.port}/anthropic"
    return anthropic.AsyncAnthropic(
        **{"base_url": url, "api_key": "any", "max_retries": 0} | options
    )


# ---- messages --------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/v1", "/engines/v1", "/engines/llama.cpp/v1", "/anthropic/v1"])
def test_a_whole_message_under_every_prefix(prefix: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.post(f"{prefix}/messages?beta=true", body("say Hello world"))
        assert answer.status == 200
        assert answer.json["content"] == [{"type": "text", "text": "Hello world"}]
        assert answer.json["model"] == "a"
        assert answer.json["usage"]["cache_read_input_tokens"] == 2
        assert answer.json["usage"]["input_tokens"] == 5
        assert answer.headers["content-type"] == "application/json"
        assert "x-ignored-fields" not in answer.headers

    run(test)


def test_the_sdk_knows_every_answer_by_its_request_id() -> None:
    async def test(site: Site) -> None:
        async with sdk(site, default_headers={"X-Request-Id": "mine"}) as client:
            members: Any = body("say Hello world")
            assert (await client.messages.create(**members))._request_id == "mine"
            async with client.messages.stream(**members) as stream:
                assert stream.response.headers["request-id"] == "mine"
            with pytest.raises(anthropic.BadRequestError) as caught:
                await client.messages.create(**members | {"max_tokens": 0})
        assert caught.value.request_id == "mine"

    run(test)


def test_a_thread_is_refused_so_that_the_sdk_goes_on_without_one() -> None:
    async def test(site: Site) -> None:
        answer = await ask(site, "say Hello world", thread={"type": "create"})
        assert answer.status == 400
        assert answer.error["details"]["error_code"] == "thread_unsupported_request"
        assert answer.error["details"]["param"] == "thread"

    run(test)


def test_a_stream() -> None:
    async def test(site: Site) -> None:
        answer = await ask(site, "say Hello world", stream=True, metadata={"user_id": "u"})
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["x-ignored-fields"] == "metadata"
        kinds = [line[7:].decode() for line in answer.body.split(b"\n") if line[:6] == b"event:"]
        assert kinds == [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]

    run(test)


def test_the_sdk_reads_whole_and_streamed_messages() -> None:
    async def test(site: Site) -> None:
        async with sdk(site) as client:
            asked: Any = body("say Hello world")
            message = await client.messages.create(**asked)
            assert message.content[0].to_dict() == {"type": "text", "text": "Hello world"}
            assert message.stop_reason == "end_turn"
            async with client.messages.stream(**asked) as stream:
                pieces = [text async for text in stream.text_stream]
                final = await stream.get_final_message()
        assert pieces == ["Hello", " world"]
        assert final.content[0].to_dict() == {"type": "text", "text": "Hello world"}
        assert final.usage.output_tokens == 2
        assert final.usage.cache_read_input_tokens == 2
        assert final.usage.input_tokens == 5

    run(test)


def test_tokens_are_counted_without_a_length() -> None:
    async def test(site: Site) -> None:
        async with sdk(site) as client:
            said: Any = [{"role": "user", "content": "four"}]
            counted = await client.messages.count_tokens(model="a", messages=said)
        assert counted.input_tokens == 4

    run(test)


def test_docker_may_ask_to_load_and_no_more() -> None:
    async def test(site: Site) -> None:
        answer = await site.post(PATH, {"model": "a"}, "X-Preload-Only: true")
        assert (answer.status, answer.body) == (200, b"")

    run(test)


# ---- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("fail context_length_exceeded", anthropic.BadRequestError),
        ("fail server_busy", anthropic.ServiceUnavailableError),
        ("die engine_crashed", anthropic.InternalServerError),
    ],
)
def test_the_sdk_raises_what_failed(content: str, error: type[anthropic.APIStatusError]) -> None:
    async def test(site: Site) -> None:
        async with sdk(site) as client:
            asked: Any = body(content)
            with pytest.raises(error) as raised:
                await client.messages.create(**asked)
        assert raised.value.error_code == content.split()[1]

    run(test)


def test_a_stream_that_fails_midway_raises_what_failed() -> None:
    async def test(site: Site) -> None:
        async with sdk(site) as client:
            asked: Any = body("die server_busy", stream=True)
            stream = await client.messages.create(**asked)
            with pytest.raises(anthropic.APIStatusError) as raised:
                [event async for event in stream]
        assert raised.value.type == "overloaded_error"

    run(test)


def test_every_error_below_the_path_has_anthropics_shape() -> None:
    async def test(site: Site) -> None:
        unknown = await site.post(PATH, body("x") | {"model": "zz"})
        assert (unknown.status, unknown.error["type"]) == (404, "not_found_error")
        nowhere = await site.send("GET", "/anthropic/v1/nothing")
        assert (nowhere.status, nowhere.json["type"]) == (404, "error")
        method = await site.send("GET", "/v1/messages")
        assert (method.status, method.error["type"]) == (405, "invalid_request_error")
        broken = await site.send("POST", PATH, "Content-Type: application/json", body=b"{")
        assert (broken.status, broken.error["type"]) == (400, "invalid_request_error")

    run(test)


def test_a_key_may_come_as_anthropics_sdk_sends_it() -> None:
    async def test(site: Site) -> None:
        asked: Any = body("say Hi")
        async with sdk(site, api_key="sk-1") as client:
            assert (await client.messages.create(**asked)).content
        async with sdk(site, api_key="sk-2") as client:
            with pytest.raises(anthropic.AuthenticationError) as raised:
                await client.messages.create(**asked)
        assert raised.value.type == "authentication_error"
        answer = await site.post(PATH, asked, "X-Api-Key: sk-1")
        assert answer.status == 200

    run(test, policy=Policy(keys=parse_keys(["sk-1:infer"])))


# ---- models ----------------------------------------------------------------------------------


def test_models_and_plain_aliases_are_listed_a_page_at_a_time() -> None:
    async def test(site: Site) -> None:
        site.catalogue.aliases.append(("claude-local", "b"))
        async with sdk(site) as client:
            listed = [model.id async for model in client.models.list(limit=2)]
            assert len(listed) == 4
            assert listed[-1] == "claude-local"
            first = await client.models.list(limit=1)
            assert (first.has_more, first.first_id) == (True, listed[0])
            before = await client.models.list(limit=2, before_id=listed[3])
            assert [model.id for model in before.data] == listed[1:3]
            shown = await client.models.retrieve("a")
        assert (shown.type, shown.id) == ("model", listed[0])
        assert shown.created_at.tzinfo is not None
        wrong = await site.send("GET", "/anthropic/v1/models?limit=0")
        assert (wrong.status, wrong.error["details"]["param"]) == (400, "limit")

    run(test, names=("a", "b", "c"))
