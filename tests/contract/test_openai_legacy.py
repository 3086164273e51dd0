"""Legacy completions over the real server: what raw sockets and OpenAI's SDK see."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from runner.wire.messages import InfillPrompt, TextPrompt, TokenPrompt
from tests.support.fake_service import Answer, Site, run


async def complete(site: Site, prompt: Any, prefix: str = "/v1", **members: Any) -> Answer:
    return await site.post(f"{prefix}/completions", {"model": "a", "prompt": prompt, **members})


@pytest.mark.parametrize("prefix", ["/v1", "/engines/v1", "/engines/llama.cpp/v1"])
def test_a_whole_answer_under_every_prefix(prefix: str) -> None:
    async def test(site: Site) -> None:
        answer = await complete(site, "say Hello world", prefix)
        assert answer.status == 200
        body = answer.json
        assert body["id"].startswith("cmpl-")
        assert body["object"] == "text_completion"
        assert body["choices"] == [
            {"text": "Hello world", "index": 0, "logprobs": None, "finish_reason": "stop"}
        ]
        assert body["usage"] == {
            "prompt_tokens": 7,
            "completion_tokens": 2,
            "total_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 2},
        }
        assert site.engine.submitted[0].prompt == TextPrompt(text="say Hello world")

    run(test)


def test_every_prompt_has_its_choices_in_order() -> None:
    async def test(site: Site) -> None:
        answer = await complete(site, ["say a", "say b"], n=2, seed=5)
        texts = [(one["index"], one["text"]) for one in answer.json["choices"]]
        assert texts == [(0, "a"), (1, "a"), (2, "b"), (3, "b")]
        assert [one.sampling.seed for one in site.engine.submitted] == [5, 6, 5, 6]
        # Choices share their prompt: each prompt is counted once.
        assert answer.json["usage"]["prompt_tokens"] == 14
        assert answer.json["usage"]["completion_tokens"] == 4

    run(test)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ([104, 105], [TokenPrompt(tokens=(104, 105))]),
        ([[104], [105]], [TokenPrompt(tokens=(104,)), TokenPrompt(tokens=(105,))]),
        (["say a", [104]], [TextPrompt(text="say a"), TokenPrompt(tokens=(104,))]),
    ],
)
def test_a_prompt_may_be_tokens(prompt: Any, expected: list[Any]) -> None:
    async def test(site: Site) -> None:
        answer = await complete(site, prompt)
        assert answer.status == 200
        assert [submit.prompt for submit in site.engine.submitted] == expected

    run(test)


def test_echo_gives_the_prompt_too() -> None:
    async def test(site: Site) -> None:
        whole = await complete(site, ["say a", [104, 105]], echo=True)
        assert [one["text"] for one in whole.json["choices"]] == ["say aa", "hitokens"]
        streamed = await complete(site, [104, 105], echo=True, stream=True)
        *chunks, done = streamed.events
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "hitokens"
        assert done == "[DONE]"

    run(test)


def test_logprobs_have_the_legacy_shape() -> None:
    async def test(site: Site) -> None:
        expected = {
            "tokens": ["Hé", " you"],
            "token_logprobs": [-0.25, -0.25],
            "top_logprobs": None,
            "text_offset": [0, 2],
        }
        whole = await complete(site, "say Hé you", logprobs=0)
        assert whole.json["choices"][0]["logprobs"] == expected
        streamed = await complete(site, "say Hé you", logprobs=2, stream=True)
        first, second = [event["choices"][0]["logprobs"] for event in streamed.events[:2]]
        assert first["text_offset"] + second["text_offset"] == [0, 2]
        assert second["top_logprobs"] == [{" you": -0.25}]
        assert site.engine.submitted[-1].sampling.top_logprobs == 2

    run(test)


def test_a_suffix_makes_the_prompt_a_gap() -> None:
    async def test(site: Site) -> None:
        answer = await complete(site, "say a", suffix="z")
        assert answer.json["choices"][0]["text"] == "a"
        assert site.engine.submitted[0].prompt == InfillPrompt(prefix="say a", suffix="z")

    run(test)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": [1.5]}, "prompt[0]"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": ["a", 1]}, "prompt[1]"),
        ({"prompt": {"prompt_string": "a"}}, "prompt"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": ["a"] * 9, "n": 16}, "prompt"),
        ({"prompt": [1], "suffix": "a"}, "suffix"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"echo": "yes"}, "echo"),
        ({"grammar": "root ::= x"}, "grammar"),
        ({"max_tokens": -2}, "max_tokens"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    async def test(site: Site) -> None:
        answer = await site.post("/v1/completions", {"model": "a", "prompt": "say a"} | members)
        assert (answer.status, answer.error["param"]) == (400, param)
        assert site.spawn.engines == []

    run(test)


def test_best_of_all_that_are_given_is_no_more_than_n() -> None:
    async def test(site: Site) -> None:
        answer = await complete(site, "say a", n=2, best_of=2)
        assert answer.status == 200
        assert "x-ignored-fields" not in answer.headers

    run(test)


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_by_the_model_has_its_status(stream: bool) -> None:
    async def test(site: Site) -> None:
        answer = await complete(site, "fail context_length_exceeded", stream=stream)
        assert (answer.status, answer.error["n_prompt_tokens"]) == (400, 9)

    run(test)


def test_an_error_that_comes_late_ends_the_stream() -> None:
    async def test(site: Site) -> None:
        answer = await complete(site, "die engine_crashed", stream=True)
        assert answer.status == 200
        first, last = answer.events
        assert first["choices"][0]["text"] == "first"
        assert last["error"]["code"] == "engine_crashed"

    run(test)


def test_openai_s_sdk_reads_it() -> None:
    async def test(site: Site) -> None:
        client = openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{site.port}/v1", api_key="any", max_retries=0
        )
        async with client:
            whole = await client.completions.create(model="a", prompt="say a b", logprobs=1)
            assert whole.choices[0].text == "a b"
            assert whole.choices[0].logprobs is not None
            assert whole.choices[0].logprobs.text_offset == [0, 1]
            stream = await client.completions.create(
                model="a", prompt="say a b", stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
        assert "".join(one.choices[0].text for one in chunks if one.choices) == "a b"
        assert [one.usage is not None for one in chunks] == [False] * (len(chunks) - 1) + [True]

    run(test)
