"""Chat completions over the real server: what raw sockets and OpenAI's SDK see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from runner.errors import Kind, RunnerError
from runner.net import Limits
from tests.support.fake_service import JSON_FIELD, Site, chat_body, render_request, run, serving


async def until(condition: Callable[[], bool]) -> None:
    """Let the server's tasks go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


# ---- whole answers ---------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/v1", "/engines/v1", "/engines/llama.cpp/v1"])
def test_a_whole_answer_under_every_prefix(prefix: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.post(f"{prefix}/chat/completions", chat_body("say Hello world"))
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert "x-ignored-fields" not in answer.headers
        assert answer.headers["x-request-id"]
        body = answer.json
        assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hello world"}
        assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}
        assert body["model"] == "a"
        assert body["timings"]["cache_n"] == 2

    run(test)


def test_choices_are_submits_that_share_a_prompt() -> None:
    async def test(site: Site) -> None:
        answer = await site.chat("say Hi", n=3, seed=5, logprobs=True)
        choices = answer.json["choices"]
        assert [choice["index"] for choice in choices] == [0, 1, 2]
        assert choices[2]["logprobs"]["content"][0]["bytes"] == [72, 105]
        assert [submit.sampling.seed for submit in site.engine.submitted] == [5, 6, 7]
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        assert answer.json["usage"] | usage == answer.json["usage"]

    run(test)


def test_what_had_no_effect_is_told_in_a_header() -> None:
    async def test(site: Site) -> None:
        strange = {"user": "u", "a\r\nX-Evil: 1": 2, "ключ": 3}
        answer = await site.chat("say Hi", **strange)
        assert answer.headers["x-ignored-fields"].startswith("user, a%0D%0AX-Evil:%201, %D0%BA")
        assert "x-evil" not in answer.headers
        many = await site.chat("say Hi", **{f"field_{index}": 1 for index in range(40)})
        assert many.headers["x-ignored-fields"].endswith("field_31, ... and 8 more")

    run(test)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        ("fail context_length_exceeded", 400, "context_length_exceeded"),
        ("fail template_error", 400, "template_error"),
        ("fail server_busy", 503, "server_busy"),
        ("fail engine_crashed", 500, "engine_crashed"),
        ("fail never_heard_of", 500, "internal_error"),
        ("die engine_crashed", 500, "engine_crashed"),
    ],
)
def test_a_failure_has_its_status(content: str, status: int, code: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.chat(content)
        assert (answer.status, answer.error["code"]) == (status, code)
        if status == 503:
            assert answer.headers["retry-after"] == "1"

    run(test)


def test_a_prompt_over_the_context_tells_both_numbers() -> None:
    async def test(site: Site) -> None:
        for stream in (False, True):
            answer = await site.chat("fail context_length_exceeded", stream=stream)
            assert answer.status == 400
            assert (answer.error["n_prompt_tokens"], answer.error["n_ctx"]) == (9, 8)
            assert answer.error["message"] == "it failed (do this)"

    run(test)


def test_an_unknown_model_is_a_404_with_a_hint() -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/v1/chat/completions", {**chat_body("say x"), "model": "zz"})
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")
        assert "did you mean a?" in answer.error["message"]
        assert site.spawn.engines == []

    run(test)


def test_what_only_the_loaded_model_can_tell_is_a_400() -> None:
    async def test(site: Site) -> None:
        answer = await site.chat("say x", logit_bias={"8": 1})
        assert (answer.status, answer.error["param"]) == (400, "logit_bias.8")
        assert site.engine.submitted == []

    run(test)


def test_a_load_that_fails_is_told() -> None:
    async def test(site: Site) -> None:
        site.spawn.error = RunnerError(Kind.LOAD_FAILED, "it does not load", hint="why")
        answer = await site.chat("say x")
        assert (answer.status, answer.error["code"]) == (500, "model_load_failed")

    run(test)


def test_docker_may_ask_to_load_and_no_more() -> None:
    async def test(site: Site) -> None:
        answer = await site.post(
            "/engines/v1/chat/completions", {"model": "a"}, "X-Preload-Only: true"
        )
        assert (answer.status, answer.body) == (200, b"")
        assert len(site.spawn.engines) == 1

    run(test)


# ---- streams ---------------------------------------------------------------------------------


def test_a_stream() -> None:
    async def test(site: Site) -> None:
        answer = await site.chat("say Hello world", stream=True, user="u")
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["x-ignored-fields"] == "user"
        *chunks, last, done = answer.events
        assert done == "[DONE]"
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert deltas == [
            {"role": "assistant", "content": ""},
            {"content": "Hello"},
            {"content": " world"},
        ]
        assert last["choices"][0]["finish_reason"] == "stop"
        assert last["timings"]["prompt_n"] == 5
        assert len({chunk["id"] for chunk in [*chunks, last]}) == 1

    run(test)


def test_an_answer_without_text_is_a_whole_stream_too() -> None:
    async def test(site: Site) -> None:
        first, last, done = (await site.chat("say", stream=True)).events
        assert first["choices"][0]["delta"]["role"] == "assistant"
        assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")

    run(test)


def test_a_reader_that_lags_gets_everything_in_longer_pieces() -> None:
    async def test(site: Site) -> None:
        words = [letter * 500_000 for letter in "abcdefgh"]  # far over what the sockets hold
        answer = await site.chat("say " + " ".join(words), stream=True)
        chunks = [event for event in answer.events if event != "[DONE]"]
        texts = [c["choices"][0]["delta"].get("content", "") for c in chunks]
        assert "".join(texts) == " ".join(words)
        assert len([text for text in texts if text]) <= len(words)

    run(test)


def test_choices_share_a_stream() -> None:
    async def test(site: Site) -> None:
        options = {"include_usage": True}
        answer = await site.chat("say a b c", stream=True, n=3, stream_options=options)
        *chunks, usage, done = answer.events
        texts = {0: "", 1: "", 2: ""}
        for chunk in chunks:
            [choice] = chunk["choices"]
            texts[choice["index"]] += choice["delta"].get("content", "")
        assert texts == dict.fromkeys((0, 1, 2), "a b c")
        finished = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
        assert finished[-3:] == ["stop"] * 3
        assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 9)
        assert done == "[DONE]"

    run(test)


@pytest.mark.parametrize("n", [1, 2])
def test_a_failure_after_the_head_is_the_last_event(n: int) -> None:
    async def test(site: Site) -> None:
        answer = await site.chat("die engine_crashed", stream=True, n=n)
        assert answer.status == 200
        assert answer.events[-1]["error"]["code"] == "engine_crashed"
        assert b"[DONE]" not in answer.body

    run(test)


@pytest.mark.parametrize("n", [1, 2])
def test_a_failure_before_the_head_keeps_its_status(n: int) -> None:
    async def test(site: Site) -> None:
        answer = await site.chat("fail server_busy", stream=True, n=n)
        assert (answer.status, answer.error["code"]) == (503, "server_busy")

    run(test)


def test_a_long_load_opens_the_stream_and_beats() -> None:
    async def test(site: Site) -> None:
        site.spawn.loading = asyncio.Event()
        body = render_request(
            "POST",
            "/v1/chat/completions",
            JSON_FIELD,
            body=b'{"model":"a","stream":true,"messages":[{"role":"user","content":"say Hi"}]}',
        )
        async with site.connect() as (reader, writer):
            writer.write(body)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readuntil(b":\n\n")
            site.spawn.loading.set()
            rest = await reader.read()
        assert b'"content":"Hi"' in rest
        assert b"[DONE]" in rest

    run(test, patience_s=0.05, limits=Limits(heartbeat_s=0.05, tick_s=0.02))


def test_a_load_that_fails_late_is_an_event() -> None:
    async def test(site: Site) -> None:
        site.spawn.loading = asyncio.Event()
        site.spawn.error = RunnerError(Kind.LOAD_FAILED, "it does not load")
        asyncio.get_running_loop().call_later(0.1, site.spawn.loading.set)
        answer = await site.chat("say x", stream=True)
        assert (answer.status, answer.events[-1]["error"]["code"]) == (200, "model_load_failed")

    run(test, patience_s=0.02)


# ---- clients that leave ----------------------------------------------------------------------


@pytest.mark.parametrize("content", ["hang", "queue"])
@pytest.mark.parametrize("members", [{"stream": True}, {}, {"n": 2}, {"n": 2, "stream": True}])
def test_e12_a_client_that_leaves_cancels_its_work(content: str, members: dict[str, Any]) -> None:
    async def test(site: Site) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        body = json.dumps(chat_body(content, **members)).encode()
        request = render_request("POST", "/v1/chat/completions", JSON_FIELD, body=body)
        writer.write(request)
        count = members.get("n", 1)
        await until(lambda: bool(site.spawn.engines) and len(site.engine.submitted) == count)
        if content == "hang" and "stream" in members:
            await reader.readuntil(b'"content":"first"')
        assert site.engine.cancelled == []
        writer.close()
        await until(lambda: sorted(site.engine.cancelled) == list(range(1, count + 1)))
        await until(lambda: not site.engines.running()[0].in_use)

    run(test)


def test_e12_a_client_that_leaves_while_the_model_loads_leaves_the_queue() -> None:
    async def test(site: Site) -> None:
        site.spawn.loading = asyncio.Event()
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(
            render_request(
                "POST",
                "/v1/chat/completions",
                JSON_FIELD,
                body=b'{"model":"a","messages":[{"role":"user","content":"say x"}]}',
            )
        )
        await until(lambda: any(one.waiting for one in site.engines.running()))
        writer.close()
        await until(lambda: not any(one.waiting for one in site.engines.running()))
        site.spawn.loading.set()

    run(test)


def test_e6_a_server_that_stops_ends_its_streams_with_an_event() -> None:
    async def main() -> bytes:
        async with serving() as site:
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            body = b'{"model":"a","stream":true,"messages":[{"role":"user","content":"hang"}]}'
            writer.write(render_request("POST", "/v1/chat/completions", JSON_FIELD, body=body))
            await reader.readuntil(b'"content":"first"')
        rest = await reader.read()
        writer.close()
        return rest

    rest = asyncio.run(main())
    assert b"the server is being stopped" in rest
    assert b"[DONE]" not in rest


# ---- OpenAI's SDK ----------------------------------------------------------------------------


def sdk(site: Site, prefix: str = "/v1") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{site.port}{prefix}", api_key="any", max_retries=0
    )


MESSAGES: list[Any] = [{"role": "user", "content": "say Hello world"}]


def test_the_sdk_reads_a_whole_answer() -> None:
    async def test(site: Site) -> None:
        async with sdk(site) as client:
            answer = await client.chat.completions.create(
                model="a", messages=MESSAGES, logprobs=True, n=2
            )
        assert [choice.message.content for choice in answer.choices] == ["Hello world"] * 2
        assert answer.usage is not None
        assert answer.usage.total_tokens == 11
        assert answer.choices[0].logprobs is not None
        assert answer.choices[0].logprobs.content[0].token == "Hello"

    run(test)


def test_the_sdk_reads_a_stream() -> None:
    async def test(site: Site) -> None:
        async with sdk(site, "/engines/llama.cpp/v1") as client:
            stream = await client.chat.completions.create(
                model="a", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "Hello world"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 2

    run(test)


def test_the_sdk_understands_our_errors() -> None:
    async def test(site: Site) -> None:
        async with sdk(site) as client:
            with pytest.raises(openai.NotFoundError) as missing:
                await client.chat.completions.create(model="zz", messages=MESSAGES)
            assert missing.value.code == "model_not_found"
            with pytest.raises(openai.BadRequestError) as wrong:
                await client.chat.completions.create(model="a", messages=MESSAGES, top_p=2)
            assert wrong.value.param == "top_p"
            stream = await client.chat.completions.create(
                model="a",
                messages=[{"role": "user", "content": "die engine_crashed"}],
                stream=True,
            )
            with pytest.raises(openai.APIError, match="it died"):
                [chunk async for chunk in stream]

    run(test)
